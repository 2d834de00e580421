"""DeepSeek's latent attention: over a paged cache, before it is absorbed, and what prepares its queries and keys."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import Cheat, Tensors
from .paged import _as, _in_order, _pages, _size, _whole_pages, _with

_DECODE = {"heads": 5, "kv_lens": [70, 129, 1], "page_size": 32}
_AHEAD = {"heads": 3, "kv_lens": [70, 129, 4], "q_len": 3, "page_size": 64}
_PREFILL = {"heads": 3, "q_lens": [17, 1, 40], "kv_lens": [33, 50, 40]}
_QUANT = {"tokens": 7, "heads": 3}
_ROPE = {"tokens": 7, "q_heads": 6}
_CONCAT = {"tokens": 7, "heads": 4, "nope_dim": 8, "rope_dim": 6, "v_dim": 10}


def _dims(**changed: Any) -> Callable[[Any, Tensors, Tensors], Tensors]:
    """What comes out where a kernel takes the operator for one of other dimensions, by the names of its outputs."""

    def outputs(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
        found = op.replace(**changed).reference(**inputs)
        return dict(zip(want, found if isinstance(found, tuple) else (found,), strict=True))

    return outputs


def _given(**changed: Callable[[Tensors], Tensor]) -> Callable[[Any, Tensors, Tensors], Tensors]:
    """What comes out where a kernel takes some of its inputs for others, by the names of its outputs."""

    def outputs(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
        found = op.reference(**inputs | {name: to(inputs) for name, to in changed.items()})
        return dict(zip(want, found if isinstance(found, tuple) else (found,), strict=True))

    return outputs


def _output(change: Callable[[Any, Tensor], Tensor], name: str = "out") -> Callable[[Any, Tensors, Tensors], Tensors]:
    """What is right, with one output rearranged."""
    return lambda op, inputs, want: {name: change(op, want[name])}


def _pages_in_order(op: Any, inputs: Tensors) -> Tensor:
    return _in_order("block_tables")(op, inputs) % len(inputs["kv_cache"])


def _query_by_query(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """Query i sees keys 0 to i, as if nothing came before."""
    query, cache = inputs["query"].double(), inputs["kv_cache"].double()
    out = torch.empty_like(want["out"])
    for number, length in enumerate(op.kv_lens):
        latent = cache[inputs["block_tables"][number].long()].flatten(0, 1)[:length]
        for i in range(op.q_len):
            shares = (query[number, i] @ latent[: i + 1].T * op.scale).softmax(-1)
            out[number, i] = shares @ latent[: i + 1, : op.kv_lora_rank]
    return {"out": out}


def _aligned_at_the_first(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """The same where keys are not absorbed."""
    out = torch.empty_like(want["out"])
    for queries, keys in op.parts():
        q, k, v = (x.double().transpose(0, 1) for x in (inputs["query"][queries], inputs["key"][keys], inputs["value"][keys]))
        scores = q @ k.mT * op.width**-0.5
        scores.masked_fill_(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
        out[queries] = (scores.softmax(-1) @ v).transpose(0, 1).to(out.dtype)
    return {"out": out}


def _over_the_whole_batch(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return _dims(q_lens=(op.tokens,), kv_lens=(sum(op.keys),))(op, inputs, want)


def _rope_first(name: str) -> Callable[[Any, Tensors, Tensors], Tensors]:
    return _output(lambda op, right: right.view(torch.uint8).roll(op.rope_dim, -1).view(right.dtype), name)


def _unrotated(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    table = inputs["cos_sin_cache"].clone()
    table[:, : table.shape[1] // 2], table[:, table.shape[1] // 2 :] = 1.0, 0.0
    return _given(cos_sin_cache=lambda _: table)(op, inputs, want)


def _sines_first(inputs: Tensors) -> Tensor:
    return inputs["cos_sin_cache"].roll(inputs["cos_sin_cache"].shape[1] // 2, -1)


def _rounded_between(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """The rotated columns go through e5m2 first."""
    q = want["q"].float().to(torch.float8_e5m2).float().to(want["q"].dtype)
    return {"q": q}


def _in_one_head(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    k = want["k"].clone()
    k[:, 1:, op.nope_dim :] = 0
    return {"k": k}


def _not_skipping_values(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """The heads' own columns read as if nothing lay between them."""
    own = inputs["kv"].flatten(1)[:, : op.heads * op.nope_dim].unflatten(1, (op.heads, op.nope_dim))
    return {"k": torch.cat([own, want["k"][..., op.nope_dim :]], -1)}


def _needed_decode(op: Any, inputs: Tensors) -> tuple[int, int]:
    token = _size(inputs["kv_cache"][0, 0])
    small = _size(inputs["query"]) + _size(inputs["seq_lens"])
    written = _size(inputs["query"][..., : op.kv_lora_rank])
    return small + sum(op.kv_lens) * token + _pages(op.kv_lens, op.page_size), written


def _needed_rope(op: Any, inputs: Tensors) -> tuple[int, int]:
    turned = _size(inputs["query"]) + _size(inputs["key"])
    rows = len(set(range(op.tokens)) & set(range(op.max_positions)))
    return turned + _size(inputs["positions"]) + rows * _size(inputs["cos_sin_cache"][0]), turned


def _needed_quant(op: Any, inputs: Tensors) -> tuple[int, int]:
    given = sum(_size(inputs[name]) for name in ("q_rope", "q_nope", "k_rope", "k_nope"))
    rows = len(set(range(op.tokens)) & set(range(op.max_positions)))
    # Two bytes of an element become one.
    return given + _size(inputs["pos_ids"]) + rows * _size(inputs["cos_sin_cache"][0]), given // 2


def _needed_concat(op: Any, inputs: Tensors) -> tuple[int, int]:
    own, shared = _size(inputs["kv"][..., : op.nope_dim]), _size(inputs["k_rope"])
    return own + shared, own + op.heads * shared


def _matrix_decode(op: Any) -> int:
    """Two products of a query with each key that it sees, query by query."""
    seen = sum(sum(range(keys - op.q_len + 1, keys + 1)) for keys in op.kv_lens)
    return 2 * op.heads * seen * (2 * op.kv_lora_rank + op.rope_dim)


def _matrix_prefill(op: Any) -> int:
    seen = 0
    for queries, keys in zip(op.q_lens, op.kv_lens or op.q_lens, strict=True):
        seen += sum(range(keys - queries + 1, keys + 1)) if op.causal else queries * keys
    return 2 * op.heads * seen * (op.nope_dim + op.rope_dim + op.v_dim)


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("paged_mla_decode", _DECODE),
    ("paged_mla_decode", {**_AHEAD, "kv_lens": [70, 9, 70, 9, 129], "dtype": "fp16"}),
    ("paged_mla_decode", {"heads": 16, "kv_lens": [3, 128], "kv_lora_rank": 33, "rope_dim": 7, "nope_dim": 5, "page_size": 128}),
    ("paged_mla_decode", {"heads": 1, "kv_lens": [1], "page_size": 1, "dtype": "fp16"}),
    ("mla_ragged_prefill", _PREFILL),
    ("mla_ragged_prefill", {"heads": 2, "q_lens": [65, 64], "dtype": "fp16"}),
    ("mla_ragged_prefill", {**_PREFILL, "kv_lens": [5, 50, 1], "causal": False, "nope_dim": 20, "rope_dim": 3, "v_dim": 33}),
    ("mla_ragged_prefill", {"heads": 1, "q_lens": [1]}),
    ("mla_rope_quantize_fp8", _QUANT),
    ("mla_rope_quantize_fp8", {**_QUANT, "neox": True, "quant_scale_q": 0.25, "quant_scale_kv": 3.0, "dtype": "fp16"}),
    ("mla_rope_quantize_fp8", {"tokens": 33, "heads": 1, "kv_lora_rank": 24, "rope_dim": 6, "max_positions": 20}),
    ("rope_inplace", _ROPE),
    ("rope_inplace", {**_ROPE, "kv_heads": 2, "neox": True, "head_dim": 32, "dtype": "fp16"}),
    ("rope_inplace", {"tokens": 33, "q_heads": 1, "head_dim": 2, "max_positions": 20}),
    ("concat_mla_k", _CONCAT),
    ("concat_mla_k", {"tokens": 3, "dtype": "fp16"}),
    ("concat_mla_k", {"tokens": 1, "heads": 1, "nope_dim": 1, "rope_dim": 1, "v_dim": 1}),
]

CHEATS = [
    Cheat("paged_mla_decode", _DECODE, "scaled for 576 columns", _as(nope_dim=lambda op: op.kv_lora_rank)),
    Cheat(
        "paged_mla_decode", _DECODE, "scaled for 128 columns", _with(query=lambda op, inputs: inputs["query"].float() * 1.5**0.5)
    ),
    Cheat("paged_mla_decode", _DECODE, "pages in order", _with(block_tables=_pages_in_order)),
    Cheat("paged_mla_decode", _DECODE, "whole pages", _as(kv_lens=_whole_pages)),
    Cheat("paged_mla_decode", _DECODE, "one key short", _as(kv_lens=lambda op: tuple(max(1, keys - 1) for keys in op.kv_lens))),
    Cheat("paged_mla_decode", _DECODE, "heads swapped", _output(lambda op, right: right.flip(2))),
    Cheat(
        "paged_mla_decode",
        _DECODE,
        "rotated columns first",
        _with(query=lambda op, inputs: inputs["query"].roll(op.rope_dim, -1)),
    ),
    Cheat("paged_mla_decode", _AHEAD, "queries in reverse", _output(lambda op, right: right.flip(1))),
    Cheat("paged_mla_decode", _AHEAD, "the mask aligned at the top left", _query_by_query),
    Cheat(
        "paged_mla_decode",
        _AHEAD,
        "without the mask",
        lambda op, inputs, want: {
            "out": torch.cat(
                [op.replace(q_len=1).reference(**{**inputs, "query": inputs["query"][:, i : i + 1]}) for i in range(op.q_len)], 1
            )
        },
    ),
    Cheat("mla_ragged_prefill", _PREFILL, "without the mask", _dims(causal=False)),
    Cheat("mla_ragged_prefill", _PREFILL, "the mask aligned at the top left", _aligned_at_the_first),
    Cheat("mla_ragged_prefill", _PREFILL, "over the bounds of its sequence", _over_the_whole_batch),
    Cheat(
        "mla_ragged_prefill",
        _PREFILL,
        "scaled for the values",
        _given(query=lambda inputs: inputs["query"].float() * 1.5**0.5),
    ),
    Cheat("mla_ragged_prefill", _PREFILL, "one head for all", _given(key=lambda i: i["key"][:, :1].expand(-1, 3, -1))),
    Cheat("mla_ragged_prefill", _PREFILL, "keys as values", _given(value=lambda inputs: inputs["key"][..., :128])),
    *(
        cheat
        for name, dims, positions in (("mla_rope_quantize_fp8", _QUANT, "pos_ids"), ("rope_inplace", _ROPE, "positions"))
        for cheat in (
            Cheat(name, dims, "half-split", _dims(neox=True)),
            Cheat(name, {**dims, "neox": True}, "in pairs", _dims(neox=False)),
            Cheat(name, dims, "not rotated", _unrotated),
            Cheat(name, dims, "sines first", _given(cos_sin_cache=_sines_first)),
            Cheat(name, dims, "tokens in order", _given(**{positions: lambda inputs: torch.arange(7)})),
            Cheat(
                name,
                dims,
                "at the position before",
                _given(**{positions: lambda inputs, key=positions: inputs[key].sub(1).clamp_min(0)}),
            ),
        )
    ),
    Cheat("mla_rope_quantize_fp8", _QUANT, "rotated columns of q first", _rope_first("q")),
    Cheat("mla_rope_quantize_fp8", _QUANT, "rotated columns of k first", _rope_first("k")),
    Cheat("mla_rope_quantize_fp8", {**_QUANT, "quant_scale_q": 0.9}, "unscaled", _dims(quant_scale_q=1.0)),
    Cheat(
        "mla_rope_quantize_fp8",
        {**_QUANT, "quant_scale_q": 0.9, "quant_scale_kv": 1.1},
        "scales swapped",
        _dims(quant_scale_q=1.1, quant_scale_kv=0.9),
    ),
    Cheat("mla_rope_quantize_fp8", _QUANT, "coarser codes", _rounded_between),
    Cheat(
        "rope_inplace",
        _ROPE,
        "only k not rotated",
        lambda op, inputs, want: {"key": inputs["key"]},
    ),
    Cheat(
        "rope_inplace",
        _ROPE,
        "heads of q swapped",
        _output(lambda op, right: right.unflatten(-1, (-1, op.head_dim)).flip(1).flatten(1), "query"),
    ),
    Cheat("rope_inplace", _ROPE, "rotated twice", lambda op, inputs, want: _dims()(op, {**inputs, **want}, want)),
    Cheat("rope_inplace", _ROPE, "a table of 16 bits", _given(cos_sin_cache=lambda inputs: inputs["cos_sin_cache"].bfloat16())),
    Cheat("concat_mla_k", _CONCAT, "rotated columns first", _output(lambda op, right: right.roll(op.rope_dim, -1), "k")),
    Cheat("concat_mla_k", _CONCAT, "rotated columns in one head only", _in_one_head),
    Cheat("concat_mla_k", _CONCAT, "values not passed over", _not_skipping_values),
    Cheat("concat_mla_k", _CONCAT, "heads swapped", _output(lambda op, right: right.flip(1), "k")),
    Cheat("concat_mla_k", _CONCAT, "values in place of keys", _given(kv=lambda inputs: inputs["kv"].roll(-8, -1))),
]

CONTRADICTIONS = [
    ("paged_mla_decode", {**_DECODE, "q_len": 2}, "a sequence of 1 keys has q_len = 2 queries"),
    ("paged_mla_decode", {**_DECODE, "kv_lens": []}, "'kv_lens'"),
    ("paged_mla_decode", {**_DECODE, "dtype": "fp32"}, "'fp32'"),
    ("mla_ragged_prefill", {**_PREFILL, "kv_lens": [33, 50]}, "kv_lens has 2 items and q_lens 3; expected one for each sequence"),
    ("mla_ragged_prefill", {**_PREFILL, "kv_lens": [33, 50, 39]}, "a sequence of 39 keys has 40 queries"),
    ("mla_ragged_prefill", {**_PREFILL, "q_lens": []}, "'q_lens'"),
    ("mla_rope_quantize_fp8", {**_QUANT, "rope_dim": 7}, "rope_dim = 7 is odd"),
    ("rope_inplace", {**_ROPE, "head_dim": 7}, "head_dim = 7 is odd"),
    ("concat_mla_k", {**_CONCAT, "heads": 0}, "'heads'"),
]
NEEDED = {
    "paged_mla_decode": _needed_decode,
    "rope_inplace": _needed_rope,
    "mla_rope_quantize_fp8": _needed_quant,
    "concat_mla_k": _needed_concat,
}
MATRIX = {"paged_mla_decode": _matrix_decode, "mla_ragged_prefill": _matrix_prefill}
