"""Mixture of experts: the routers of models, what grouped products start from, and the way back."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import Cheat, Tensors

Change = Callable[[Any, Tensors, Tensors], Tensors]


def _routed(scores: Tensor, choice: Tensor, top_k: int, share: bool = False, scaling: float = 1.0) -> Tensors:
    """The weights `scores` of the best by `choice`."""
    ids = choice.topk(top_k).indices
    weights = scores.gather(-1, ids)
    return {"topk_weights": weights / weights.sum(-1, keepdim=True) * scaling if share else weights, "topk_ids": ids}


def _softmax(op: Any, x: Tensors, shifted: bool = True, share: bool | None = None) -> Tensors:
    logits = x["gating_output"].float()
    odds = (logits + x["correction_bias"] if shifted else logits).softmax(-1)
    return _routed(odds, odds, op.top_k, op.renormalize if share is None else share)


def _bias_after_softmax(op: Any, x: Tensors, want: Tensors) -> Tensors:
    """As topk_sigmoid treats it: it chooses and does not weigh."""
    odds = x["gating_output"].float().softmax(-1)
    return _routed(odds, odds + x["correction_bias"], op.top_k, op.renormalize)


def _sigmoid(op: Any, x: Tensors, biased: bool = True, share: bool | None = None) -> Tensors:
    scores = x["gating_output"].float().sigmoid()
    choice = scores + x["correction_bias"] if biased else scores
    return _routed(scores, choice, op.top_k, op.renormalize if share is None else share)


def _weighed_with_bias(op: Any, x: Tensors, want: Tensors) -> Tensors:
    choice = x["gating_output"].float().sigmoid() + x["correction_bias"]
    return _routed(choice, choice, op.top_k, op.renormalize)


def _bias_on_logits(op: Any, x: Tensors, want: Tensors) -> Tensors:
    scores = (x["gating_output"].float() + x["correction_bias"]).sigmoid()
    return _routed(scores, scores, op.top_k, op.renormalize)


def _exchanged_weights(op: Any, x: Tensors, want: Tensors) -> Tensors:
    return {"topk_weights": want["topk_weights"].flip(-1)}


def _next_best(op: Any, x: Tensors, want: Tensors) -> Tensors:
    """The expert after the last one chosen in its place."""
    ids = (x["gating_output"].float().sigmoid() + x["correction_bias"]).topk(op.top_k + 1).indices
    return {"topk_ids": torch.cat([ids[:, :-2], ids[:, -1:]], -1)}


def _gated(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None, **dims: Any) -> Change:
    """The gate with other dimensions, or other scores of groups and experts: those of c by group, and of s."""

    def cheat(op: Any, x: Tensors, want: Tensors) -> Tensors:
        other = op.replace(**dims)
        scores = x["gating_output"].float().sigmoid()
        choice = scores + x["correction_bias"].float()
        by_group = choice.view(op.tokens, other.groups, -1)
        totals = by_group.topk(min(2, by_group.shape[-1])).values.sum(-1)
        if change is not None:
            totals, choice = change(by_group, scores)
        dropped = torch.ones_like(totals, dtype=torch.bool).scatter(-1, totals.topk(other.kept_groups).indices, False)
        kept = choice.reshape(by_group.shape).masked_fill(dropped[..., None], -torch.inf).flatten(1)
        return _routed(scores, kept, op.top_k, True, op.scaling)

    return cheat


def _of_grouped(share: bool, scale: bool) -> Change:
    def cheat(op: Any, x: Tensors, want: Tensors) -> Tensors:
        scores = x["gating_output"].float().sigmoid().gather(-1, want["topk_ids"].long())
        total = scores.sum(-1, keepdim=True) if share else 1.0
        return {"topk_weights": scores / total * (op.scaling if scale else 1.0)}

    return cheat


def _with_bias(op: Any, x: Tensors, want: Tensors) -> Tensors:
    """Shares of what the experts were chosen by."""
    choice = (x["gating_output"].float().sigmoid() + x["correction_bias"]).gather(-1, want["topk_ids"].long())
    return {"topk_weights": choice / choice.sum(-1, keepdim=True) * op.scaling}


def _changed(name: str, change: Callable[[Any, Tensor], Tensor]) -> Change:
    return lambda op, x, want: {name: change(op, want[name].clone())}


def _swapped_rows(op: Any, ids: Tensor) -> Tensor:
    """Two positions of different experts for each other."""
    first, last = ids.argmin(), ids.argmax()
    ids[first], ids[last] = ids[last].clone(), ids[first].clone()
    return ids


def _unsorted(op: Any, x: Tensors, want: Tensors) -> Tensors:
    order = torch.arange(op.tokens * op.top_k)
    return {"input_permutation": order // op.top_k, "output_permutation": order}


def _inverse(op: Any, x: Tensors, want: Tensors) -> Tensors:
    return {"output_permutation": want["output_permutation"].argsort()}


def _repeated_tokens(op: Any, x: Tensors, want: Tensors) -> Tensors:
    """No permutation: the token of each flat position."""
    return {"output_permutation": torch.arange(op.tokens).repeat_interleave(op.top_k)}


def _turned(op: Any, sizes: Tensor) -> Tensor:
    return sizes[:, [0, 2, 1]]


def _untiled(op: Any, x: Tensors, want: Tensors) -> Tensors:
    return {"blockscale_offsets": want["expert_offsets"]}


def _summed(change: Callable[[Any, Tensor, Tensor, Tensor], Tensor]) -> Change:
    """Of rows [tokens, top_k, hidden] in their places, factors and the rows as they came, all fp32."""

    def cheat(op: Any, x: Tensors, want: Tensors) -> Tensors:
        rows = x["expert_outputs"].float()
        placed = rows[x["permutation"].long()].view(op.tokens, op.top_k, -1)
        return {"out": change(op, placed, x["factors"].float()[..., None], rows.view(placed.shape))}

    return cheat


def _rounded_steps(op: Any, placed: Tensor, factors: Tensor, rows: Tensor) -> Tensor:
    total = (placed[:, 0] * factors[:, 0]).bfloat16()
    for place in range(1, op.top_k):
        total = total + (placed[:, place] * factors[:, place]).bfloat16()
    return total


def _scattered(op: Any, x: Tensors, want: Tensors) -> Tensors:
    """The permutation followed the other way."""
    rows = x["expert_outputs"].float()[x["permutation"].long().argsort()].view(op.tokens, op.top_k, -1)
    return {"out": (rows * x["factors"].float()[..., None]).sum(1)}


def _no_products(op: Any) -> int:
    return 0


_FEW = {"tokens": 61, "experts": 16, "top_k": 4}
_GATE = {"tokens": 61, "experts": 32, "groups": 8, "kept_groups": 3, "top_k": 5}
_LISTS = {"tokens": 37, "experts": 9, "top_k": 4, "hidden": 96, "intermediate": 64}
_ROWS = {"tokens": 61, "top_k": 6, "hidden": 160}
#: Its reference looks at values, which the meta device has none of.
MATRIX = {"prepare_moe_input": _no_products}
SMALL: list[tuple[str, dict[str, Any]]] = [
    ("topk_softmax", {"tokens": 333, "experts": 60, "top_k": 6}),
    ("topk_softmax", {"tokens": 61, "experts": 16, "top_k": 4, "renormalize": True, "bias": True, "dtype": "bf16"}),
    ("topk_softmax", {"tokens": 5, "experts": 7, "top_k": 7, "bias": True, "dtype": "fp16"}),
    ("topk_softmax", {"tokens": 3, "experts": 9, "top_k": 1, "renormalize": True}),
    ("topk_sigmoid", {"tokens": 333, "experts": 60, "top_k": 6}),
    ("topk_sigmoid", {"tokens": 61, "experts": 16, "top_k": 4, "renormalize": True, "dtype": "bf16"}),
    ("topk_sigmoid", {"tokens": 5, "experts": 7, "top_k": 7, "bias": False, "dtype": "fp16"}),
    ("topk_sigmoid", {"tokens": 3, "experts": 9, "top_k": 1, "renormalize": True, "bias": False}),
    ("moe_fused_gate", {"tokens": 61, "experts": 256, "groups": 8, "kept_groups": 4, "top_k": 8}),
    ("moe_fused_gate", {"tokens": 37, "experts": 24, "groups": 4, "kept_groups": 2, "top_k": 3, "scaling": 1.0, "dtype": "bf16"}),
    ("moe_fused_gate", {"tokens": 37, "experts": 12, "groups": 4, "kept_groups": 4, "top_k": 5, "dtype": "fp16"}),
    ("moe_fused_gate", {"tokens": 5, "experts": 7, "groups": 7, "kept_groups": 3, "top_k": 3}),
    ("moe_fused_gate", {"tokens": 1, "experts": 4, "groups": 1, "kept_groups": 1, "top_k": 4}),
    ("prepare_moe_input", _LISTS),
    ("prepare_moe_input", {"tokens": 333, "experts": 5, "top_k": 5, "hidden": 7, "intermediate": 3}),
    ("prepare_moe_input", {"tokens": 3, "experts": 70, "top_k": 2, "hidden": 96, "intermediate": 64}),
    ("prepare_moe_input", {"tokens": 1, "experts": 1, "top_k": 1, "hidden": 1, "intermediate": 1}),
    ("shuffle_mul_sum", {"tokens": 37, "top_k": 8, "hidden": 129}),
    ("shuffle_mul_sum", {"tokens": 5, "top_k": 3, "hidden": 320, "dtype": "fp16"}),
    ("shuffle_mul_sum", {"tokens": 33, "top_k": 6, "hidden": 65, "dtype": "fp32"}),
    ("shuffle_mul_sum", {"tokens": 1, "top_k": 1, "hidden": 7}),
]
CHEATS = [
    *(
        Cheat("topk_softmax", {**_FEW, "bias": True, "renormalize": share}, f"{what}, renormalized: {share}", outputs)
        for share in (False, True)
        for what, outputs in (
            ("without the bias", lambda op, x, want: _softmax(op, x, shifted=False)),
            ("the bias after the softmax", _bias_after_softmax),
            ("renormalised the other way", lambda op, x, want: _softmax(op, x, share=not op.renormalize)),
            ("weights of other experts", _exchanged_weights),
            ("sigmoids", lambda op, x, want: _bias_on_logits(op, x, want)),
        )
    ),
    *(
        Cheat("topk_sigmoid", {**_FEW, "renormalize": share}, f"{what}, renormalized: {share}", outputs)
        for share in (False, True)
        for what, outputs in (
            ("without the bias", lambda op, x, want: _sigmoid(op, x, biased=False)),
            ("weighed with the bias", _weighed_with_bias),
            ("the bias on the logits", _bias_on_logits),
            ("renormalised the other way", lambda op, x, want: _sigmoid(op, x, share=not op.renormalize)),
            ("weights of other experts", _exchanged_weights),
            ("the next best", _next_best),
            ("softmax", lambda op, x, want: _bias_after_softmax(op, x, want)),
        )
    ),
    *(
        Cheat("moe_fused_gate", {**_GATE, **dims}, f"{what} {dims}", outputs)
        for dims in ({}, {"dtype": "fp16"})
        for what, outputs in (
            ("without groups", _gated(kept_groups=8)),
            ("one group too few", _gated(kept_groups=2)),
            ("one group too many", _gated(kept_groups=4)),
            ("groups of other size", _gated(groups=4)),
            ("groups by their best expert", _gated(lambda groups, scores: (groups.amax(-1), groups))),
            ("groups by all of their experts", _gated(lambda groups, scores: (groups.sum(-1), groups))),
            ("chosen without the bias", _gated(lambda groups, scores: (groups.topk(2).values.sum(-1), scores))),
            ("not scaled", _of_grouped(True, False)),
            ("not divided by the sum", _of_grouped(False, True)),
            ("the bias in the weights", _with_bias),
            ("weights of other experts", _exchanged_weights),
            ("an expert twice", _changed("topk_ids", lambda op, ids: ids[:, [0, 0, 2, 3, 4]])),
            ("numbers within the group", _changed("topk_ids", lambda op, ids: ids % 4)),
        )
    ),
    *(
        Cheat("prepare_moe_input", _LISTS, what, outputs)
        for what, outputs in (
            ("unsorted", _unsorted),
            ("two rows exchanged", _changed("output_permutation", _swapped_rows)),
            ("two tokens exchanged", _changed("input_permutation", _swapped_rows)),
            ("the permutation the other way", _inverse),
            ("tokens in place of rows", _repeated_tokens),
            ("positions in place of tokens", _changed("input_permutation", lambda op, ids: ids * op.top_k)),
            ("a row too far", _changed("output_permutation", lambda op, ids: ids + 1)),
            ("a row before the first", _changed("output_permutation", lambda op, ids: ids - 1)),
            ("n and k exchanged in the first", _changed("problem_sizes1", _turned)),
            ("n and k exchanged in the second", _changed("problem_sizes2", _turned)),
            ("counts of the next expert", _changed("problem_sizes1", lambda op, sizes: sizes.roll(1, 0))),
            ("offsets that start late", _changed("expert_offsets", lambda op, sums: torch.cat([sums[1:], sums[-1:]]))),
            ("scales without tiles", _untiled),
        )
    ),
    *(
        Cheat("shuffle_mul_sum", _ROWS, what, outputs)
        for what, outputs in (
            ("unshuffled", _summed(lambda op, placed, factors, rows: (rows * factors).sum(1))),
            ("shuffled the other way", _scattered),
            ("unweighted", _summed(lambda op, placed, factors, rows: placed.sum(1))),
            ("the mean", _summed(lambda op, placed, factors, rows: (placed * factors).mean(1))),
            ("without the last expert", _summed(lambda op, placed, factors, rows: (placed * factors)[:, :-1].sum(1))),
            ("factors of the next token", _summed(lambda op, placed, factors, rows: (placed * factors.roll(1, 0)).sum(1))),
            ("rounded at every step", _summed(_rounded_steps)),
        )
    ),
]
CONTRADICTIONS = [
    *(
        (name, {"tokens": 1, "experts": 8, "top_k": 9, **rest}, "top_k = 9 of only 8 experts")
        for name, rest in (
            ("topk_softmax", {}),
            ("topk_sigmoid", {}),
            ("moe_fused_gate", {"groups": 2, "kept_groups": 2}),
            ("prepare_moe_input", {"hidden": 1, "intermediate": 1}),
        )
    ),
    ("moe_fused_gate", {**_GATE, "experts": 33}, "experts = 33 is no multiple of groups = 8"),
    ("moe_fused_gate", {**_GATE, "kept_groups": 9}, "kept_groups = 9 of only 8 groups"),
    ("moe_fused_gate", {**_GATE, "top_k": 13}, "top_k = 13 of only 12 experts"),
]
