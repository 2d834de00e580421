"""Attention over a paged or a latent cache, and writing a paged one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import Cheat, Tensors

_BATCH = {"q_heads": 6, "kv_heads": 2, "head_dim": 16, "q_lens": [5, 1, 20], "kv_lens": [37, 50, 20], "page_size": 8}
_DECODE = {"q_heads": 6, "kv_heads": 2, "head_dim": 16, "kv_lens": [37, 50, 1], "page_size": 8}
_LATENT = {"heads": 5, "kv_lens": [37, 50, 1]}
_SLOTS = {"tokens": 37, "heads": 3, "head_dim": 20, "page_size": 8}


def _with(**changed: Callable[[Any, Tensors], Tensor]) -> Callable[[Any, Tensors, Tensors], Tensors]:
    """What comes out where a kernel takes some of its inputs for others."""
    return lambda op, inputs, want: {"out": op.reference(**inputs | {key: to(op, inputs) for key, to in changed.items()})}


def _as(**changed: Callable[[Any], Any]) -> Callable[[Any, Tensors, Tensors], Tensors]:
    """What comes out where a kernel takes the operator for one of other dimensions."""
    return lambda op, inputs, want: {"out": op.replace(**{k: to(op) for k, to in changed.items()}).reference(**inputs)}


def _in_order(name: str) -> Callable[[Any, Tensors], Tensor]:
    def table(op: Any, inputs: Tensors) -> Tensor:
        return torch.arange(inputs[name].numel(), dtype=torch.int32).view(inputs[name].shape)

    return table


def _unscaled(name: str) -> Callable[[Any, Tensors], Tensor]:
    return lambda op, inputs: inputs[name].float() * inputs[name].shape[-1] ** 0.5


def _first_head(name: str, axis: int) -> Callable[[Any, Tensors], Tensor]:
    """The first head of a cache in place of all of them."""
    return lambda op, inputs: inputs[name].narrow(axis, 0, 1).expand_as(inputs[name])


def _interleaved(name: str) -> Callable[[Any, Tensors, Tensors], Tensors]:
    """Query head h over cache head h % kv_heads."""

    def outputs(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
        heads = torch.arange(op.q_heads).view(-1, op.kv_heads).T.flatten()
        out = torch.empty_like(want["out"])
        out[:, heads] = op.reference(**{**inputs, name: inputs[name][:, heads]})
        return {"out": out}

    return outputs


def _whole_pages(op: Any) -> tuple[int, ...]:
    return tuple(-(-length // op.page_size) * op.page_size for length in op.kv_lens)


def _written(op: Any, inputs: Tensors, **changed: Tensor) -> Tensors:
    return dict(zip(op.outputs(), op.reference(**inputs | changed), strict=True))


def _zeroed(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return _written(op, inputs, **{name: torch.zeros_like(inputs[name]) for name in want})


def _one_left_out(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    last = int(inputs["slot_mapping"][-1])
    out = {name: value.clone() for name, value in want.items()}
    out["value_cache"].view(-1, op.heads, op.head_dim)[last] = inputs["value_cache"].view(-1, op.heads, op.head_dim)[last]
    return out


def _size(value: Tensor) -> int:
    return value.numel() * value.itemsize


def _pages(lengths: tuple[int, ...], page_size: int) -> int:
    """Bytes of the table's entries that hold a page."""
    return 4 * sum(len(range(0, length, page_size)) for length in lengths)


def _needed_unified(op: Any, inputs: Tensors) -> tuple[int, int]:
    keys = int(sum(op.kv_lens or op.q_lens))
    token = _size(inputs["k_cache"][0, 0]) + _size(inputs["v_cache"][0, 0])
    small = sum(_size(inputs[name]) for name in ("q", "cu_seqlens_q", "kv_lens"))
    return small + keys * token + _pages(op.kv_lens or op.q_lens, op.page_size), _size(inputs["q"])


def _needed_decode(op: Any, inputs: Tensors) -> tuple[int, int]:
    token = (_size(inputs["k_cache"][0]) + _size(inputs["v_cache"][0])) // op.page_size
    small = _size(inputs["query"]) + _size(inputs["seq_lens"])
    return small + sum(op.kv_lens) * token + _pages(op.kv_lens, op.page_size), _size(inputs["query"])


def _needed_slots(op: Any, inputs: Tensors) -> tuple[int, int]:
    new = _size(inputs["key"]) + _size(inputs["value"])
    return new + _size(inputs["slot_mapping"]), new


def _matrix_unified(op: Any) -> int:
    """Two products of a query with each key that it sees, query by query."""
    scores = 0
    for queries, keys in zip(op.q_lens, op.kv_lens or op.q_lens, strict=True):
        scores += sum(range(keys - queries + 1, keys + 1)) if op.causal else queries * keys
    return 2 * 2 * op.head_dim * op.q_heads * scores


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("unified_attention", {"q_heads": 4, "kv_heads": 2, "head_dim": 72, "q_lens": [1, 17, 130]}),
    ("unified_attention", {**_BATCH, "q_lens": [5, 1, 5, 1], "kv_lens": [40, 17, 40, 300], "head_dim": 33, "dtype": "fp32"}),
    ("unified_attention", {**_BATCH, "q_lens": [9, 30], "kv_lens": [40, 31], "kv_heads": 1, "causal": False, "dtype": "fp16"}),
    ("unified_attention", {**_BATCH, "q_lens": [1] * 3, "kv_lens": [15, 16, 17], "q_heads": 16, "page_size": 16}),
    ("unified_attention", {"q_heads": 1, "kv_heads": 1, "head_dim": 1, "q_lens": [1], "page_size": 1}),
    ("paged_attention_decode", _DECODE),
    ("paged_attention_decode", {**_DECODE, "kv_lens": [9, 70, 9, 70, 1], "layout": "nhd", "head_dim": 33, "dtype": "fp16"}),
    ("paged_attention_decode", {**_DECODE, "kv_heads": 6, "head_dim": 12, "page_size": 1, "dtype": "fp32"}),
    ("paged_attention_decode", {**_DECODE, "q_heads": 16, "kv_heads": 1, "kv_lens": [300], "page_size": 16, "dtype": "fp16"}),
    ("mla_decode_attention", _LATENT),
    ("mla_decode_attention", {"heads": 16, "kv_lens": [70, 70, 3], "kv_lora_rank": 33, "rope_dim": 7, "dtype": "fp32"}),
    ("mla_decode_attention", {"heads": 1, "kv_lens": [129], "dtype": "fp16"}),
    ("reshape_and_cache", _SLOTS),
    ("reshape_and_cache", {"tokens": 1, "heads": 1, "head_dim": 1, "dtype": "fp32"}),
    ("reshape_and_cache", {"tokens": 16, "heads": 2, "head_dim": 33, "page_size": 1, "dtype": "fp16"}),
]

CHEATS = [
    Cheat("unified_attention", _BATCH, "without the mask", _as(causal=lambda op: False)),
    # Query i of a chunk sees keys 0 to i, as if nothing came before the chunk.
    Cheat("unified_attention", _BATCH, "the mask aligned at the top left", _as(kv_lens=lambda op: ())),
    Cheat("unified_attention", _BATCH, "pages in order", _with(block_table=_in_order("block_table"))),
    Cheat("unified_attention", _BATCH, "unscaled", _with(q=_unscaled("q"))),
    Cheat(
        "unified_attention",
        _BATCH,
        "one head of the cache for all",
        _with(k_cache=_first_head("k_cache", 2), v_cache=_first_head("v_cache", 2)),
    ),
    Cheat("unified_attention", _BATCH, "heads of the cache in turn", _interleaved("q")),
    Cheat("unified_attention", _BATCH, "keys as values", _with(v_cache=lambda op, inputs: inputs["k_cache"])),
    *(
        cheat
        for dims in (_DECODE, {**_DECODE, "layout": "nhd"})
        for cheat in (
            Cheat("paged_attention_decode", dims, "pages in order", _with(block_tables=_in_order("block_tables"))),
            Cheat("paged_attention_decode", dims, "unscaled", _with(query=_unscaled("query"))),
            Cheat("paged_attention_decode", dims, "heads of the cache in turn", _interleaved("query")),
            Cheat("paged_attention_decode", dims, "whole pages", _as(kv_lens=_whole_pages)),
        )
    ),
    Cheat(
        "paged_attention_decode",
        _DECODE,
        "one head of the cache for all",
        _with(k_cache=_first_head("k_cache", 1), v_cache=_first_head("v_cache", 1)),
    ),
    Cheat(
        "paged_attention_decode",
        _DECODE,
        "keys not packed",
        _with(k_cache=lambda op, inputs: inputs["k_cache"].transpose(2, 3).reshape(inputs["k_cache"].shape)),
    ),
    # The latent part of the cache comes first.
    Cheat(
        "mla_decode_attention",
        {**_LATENT, "kv_lora_rank": 32, "rope_dim": 16},
        "the last columns as values",
        lambda op, inputs, want: {"out": _last_columns(op, **inputs)},
    ),
    Cheat("mla_decode_attention", _LATENT, "unscaled", _with(q=_unscaled("q"))),
    Cheat("mla_decode_attention", _LATENT, "scaled for 192 columns", _with(q=lambda op, inputs: inputs["q"].float() * 3**0.5)),
    Cheat(
        "mla_decode_attention", _LATENT, "without the rotated columns", _with(q=lambda op, inputs: _unrotated(op, inputs["q"]))
    ),
    Cheat("mla_decode_attention", _LATENT, "sequences in another order", _as(kv_lens=lambda op: op.kv_lens[::-1])),
    Cheat(
        "reshape_and_cache",
        _SLOTS,
        "slots in order",
        lambda op, inputs, want: _written(op, inputs, slot_mapping=torch.arange(op.tokens)),
    ),
    Cheat(
        "reshape_and_cache",
        _SLOTS,
        "values among the keys",
        lambda op, inputs, want: _written(op, inputs, key=inputs["value"]),
    ),
    Cheat("reshape_and_cache", _SLOTS, "one slot not written", _one_left_out),
    Cheat("reshape_and_cache", _SLOTS, "zeros elsewhere", _zeroed),
]


def _last_columns(op: Any, q: Tensor, kv_cache: Tensor, seq_lens: Tensor) -> Tensor:
    first, outs = 0, []
    for number, length in enumerate(op.kv_lens):
        latent = kv_cache[first : first + length, 0].float()
        outs.append((q[number].float() @ latent.T * op.width**-0.5).softmax(-1) @ latent[:, op.rope_dim :])
        first += length
    return torch.stack(outs)


def _unrotated(op: Any, q: Tensor) -> Tensor:
    out = q.clone()
    out[..., op.kv_lora_rank :] = 0
    return out


CONTRADICTIONS = [
    ("unified_attention", {**_BATCH, "q_heads": 7}, "q_heads = 7 is no multiple of kv_heads = 2"),
    ("unified_attention", {**_BATCH, "kv_lens": [37, 50]}, "kv_lens has 2 items and q_lens 3; expected one for each sequence"),
    ("unified_attention", {**_BATCH, "kv_lens": [37, 50, 19]}, "a sequence of 19 keys has 20 queries"),
    ("unified_attention", {**_BATCH, "q_lens": []}, "'q_lens'"),
    ("paged_attention_decode", {**_DECODE, "kv_heads": 4}, "q_heads = 6 is no multiple of kv_heads = 4"),
    ("paged_attention_decode", {**_DECODE, "head_dim": 12}, "head_dim = 12 is no multiple of the 8 elements"),
    ("paged_attention_decode", {**_DECODE, "head_dim": 6, "dtype": "fp32"}, "head_dim = 6 is no multiple of the 4 elements"),
    ("mla_decode_attention", {**_LATENT, "kv_lens": []}, "'kv_lens'"),
]
NEEDED = {
    "unified_attention": _needed_unified,
    "paged_attention_decode": _needed_decode,
    "reshape_and_cache": _needed_slots,
}
MATRIX = {"unified_attention": _matrix_unified}
