"""Mixture of experts: routing, and the sum of what the experts gave."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import Cheat, Tensors


def _no_products(op: Any) -> int:
    return 0


#: Their references look at values, which the meta device has none of.
MATRIX: dict[str, Callable[[Any], int]] = {"moe_align_block_size": _no_products, "moe_count_and_sort": _no_products}


def _sums(change: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensors, Tensors], Tensors]:
    return lambda op, inputs, want: {"out": change(op, inputs["expert_outputs"])}


def _rounded_steps(op: Any, x: Tensor) -> Tensor:
    total = x[:, 0]
    for place in range(1, op.top_k):
        total = total + x[:, place]
    return total * op.scale


def _sorted_ids(change: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensors, Tensors], Tensors]:
    return lambda op, inputs, want: {"sorted_token_ids": change(op, want["sorted_token_ids"].clone())}


def _exchanged(op: Any, ids: Tensor) -> Tensor:
    """A position of the first expert in the place of one of the last, and the other way round."""
    last = (ids < op.tokens * op.top_k).nonzero()[-1]
    ids[0], ids[last] = ids[last].clone(), ids[0].clone()
    return ids


def _twice(op: Any, ids: Tensor) -> Tensor:
    ids[1] = ids[0]
    return ids


def _padded_with(value: int) -> Callable[[Any, Tensors, Tensors], Tensors]:
    return _sorted_ids(lambda op, ids: ids.where(ids < op.tokens * op.top_k, torch.full_like(ids, value)))


def _dropped(op: Any, ids: Tensor) -> Tensor:
    ids[0] = op.tokens * op.top_k
    return ids


def _once_more(op: Any, ids: Tensor) -> Tensor:
    """A position of the first expert in place of its padding."""
    ids[(ids == op.tokens * op.top_k).nonzero()[0]] = ids[0].clone()
    return ids


def _unsorted(op: Any, ids: Tensor) -> Tensor:
    return torch.arange(len(ids), dtype=torch.int32).clamp(max=op.tokens * op.top_k)


def _of_tokens(op: Any, ids: Tensor) -> Tensor:
    return ids // op.top_k


_LISTS = {"tokens": 37, "experts": 9, "top_k": 4}
_ALIGNED = {**_LISTS, "block_size": 8}
CHEATS = [
    *(
        Cheat("moe_sum_reduce", {"tokens": 131, "top_k": 8, "hidden": 320, "scale": scale}, f"{what}, x {scale}", _sums(change))
        for what, change, scale in (
            ("unscaled", lambda op, x: x.float().sum(1), 2.5),
            ("scaled twice", lambda op, x: x.float().sum(1) * op.scale**2, 2.5),
            ("the mean", lambda op, x: x.float().mean(1), 1.0),
            ("the first expert", lambda op, x: x[:, 0], 1.0),
            ("without the last expert", lambda op, x: x[:, :-1].float().sum(1), 1.0),
            ("the largest", lambda op, x: x.amax(1), 1.0),
            ("rounded at every step", _rounded_steps, 1.0),
            ("rounded before it is scaled", lambda op, x: x.sum(1) * op.scale, 2.6),
        )
    ),
    *(
        Cheat("moe_align_block_size", _ALIGNED, what, outputs)
        for what, outputs in (
            ("two ids exchanged", _sorted_ids(_exchanged)),
            ("an id twice", _sorted_ids(_twice)),
            ("an id left out", _sorted_ids(_dropped)),
            ("an id in place of padding", _sorted_ids(_once_more)),
            ("padded with 0", _padded_with(0)),
            ("padded with -1", _padded_with(-1)),
            ("unsorted", _sorted_ids(_unsorted)),
            ("tokens in place of positions", _sorted_ids(_of_tokens)),
            ("without the padding", lambda op, inputs, want: {"num_tokens_post_pad": torch.tensor([op.tokens * op.top_k])}),
            ("the next expert", lambda op, inputs, want: {"expert_ids": want["expert_ids"].roll(1)}),
        )
    ),
    *(
        Cheat("moe_count_and_sort", _LISTS, what, outputs)
        for what, outputs in (
            ("two ids exchanged", _sorted_ids(_exchanged)),
            ("an id twice", _sorted_ids(_twice)),
            ("an id left out", _sorted_ids(_dropped)),
            ("unsorted", _sorted_ids(_unsorted)),
            ("tokens in place of positions", _sorted_ids(_of_tokens)),
            ("where each position went", lambda op, inputs, want: {"sorted_token_ids": want["sorted_token_ids"].argsort()}),
            ("the next expert's count", lambda op, inputs, want: {"expert_token_counts": want["expert_token_counts"].roll(1)}),
            ("sums that start late", lambda op, inputs, want: {"cumsum": torch.cat([want["cumsum"][1:], want["cumsum"][-1:]])}),
        )
    ),
]
SMALL: list[tuple[str, dict[str, Any]]] = [
    ("moe_topk_gating_softmax", {"tokens": 333, "experts": 60, "top_k": 6}),
    ("moe_topk_gating_softmax", {"tokens": 5, "experts": 7, "top_k": 7}),
    ("moe_align_block_size", {"tokens": 37, "experts": 9, "top_k": 4}),
    ("moe_align_block_size", {"tokens": 333, "experts": 5, "top_k": 5, "block_size": 16}),
    ("moe_align_block_size", {"tokens": 3, "experts": 70, "top_k": 2, "block_size": 1}),
    ("moe_align_block_size", {"tokens": 1, "experts": 1, "top_k": 1}),
    ("moe_count_and_sort", {"tokens": 37, "experts": 9, "top_k": 4}),
    ("moe_count_and_sort", {"tokens": 3, "experts": 70, "top_k": 2}),
    ("moe_count_and_sort", {"tokens": 1, "experts": 1, "top_k": 1}),
    ("moe_sum_reduce", {"tokens": 37, "top_k": 8, "hidden": 129}),
    ("moe_sum_reduce", {"tokens": 5, "top_k": 3, "hidden": 320, "scale": 2.5}),
    ("moe_sum_reduce", {"tokens": 1, "top_k": 1, "hidden": 256, "scale": 0.3, "dtype": "fp16"}),
    ("moe_sum_reduce", {"tokens": 33, "top_k": 6, "hidden": 65, "scale": 2.5, "dtype": "fp32"}),
]
_TOO_FEW = {"tokens": 1, "experts": 8, "top_k": 9}
CONTRADICTIONS = [
    (name, _TOO_FEW, "top_k = 9 of only 8 experts")
    for name in ("moe_topk_gating_softmax", "moe_align_block_size", "moe_count_and_sort")
]
