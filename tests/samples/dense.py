"""Dense products of a model."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import Cheat, Tensors


def _out(change: Callable[[Any, Tensors], Tensor]) -> Callable[[Any, Tensors, Tensors], Tensors]:
    return lambda op, inputs, want: {"out": change(op, inputs)}


def _halved(names: tuple[str, str]) -> Callable[[Any, Tensors, Tensors], Tensors]:
    """The second half of the sum left out, and the rest made as large as it should be."""

    def half(op: Any, inputs: Tensors) -> Tensor:
        rows, weight = (inputs[name].float() for name in names)
        depth = rows.shape[1] // 2
        return rows[:, :depth] @ weight[:, :depth].T * 2**0.5

    return _out(half)


def _swapped(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """The latent query after the latent key."""
    query, rest = want["out"].split([op.q_lora_rank, op.kv_lora_rank + op.rope_dim], 1)
    return {"out": torch.cat([rest, query], 1)}


def _without_rope(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": torch.cat([want["out"][:, : -op.rope_dim], torch.zeros(op.tokens, op.rope_dim)], 1)}


def _read_by_rows(weight: Tensor) -> Tensor:
    """What a kernel reads that takes the weight [n, k] for one [k, n]."""
    n, k = weight.shape[-2:]
    return weight.reshape(*weight.shape[:-2], k, n).transpose(-2, -1)


def _bmm(op: Any, a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    return a.float() @ b.float().mT * scale


_SCALED: list[tuple[str, Callable[[Any, Tensors], Tensor]]] = [
    ("unscaled", lambda op, x: _bmm(op, x["a"], x["b"], torch.ones(1))),
    ("without the scale of a", lambda op, x: _bmm(op, x["a"], x["b"], x["b_scale"])),
    ("without the scale of b", lambda op, x: _bmm(op, x["a"], x["b"], x["a_scale"])),
    ("divided by its scales", lambda op, x: _bmm(op, x["a"], x["b"], 1 / (x["a_scale"] * x["b_scale"]))),
    ("b read by rows", lambda op, x: _bmm(op, x["a"], _read_by_rows(x["b"].float()), x["a_scale"] * x["b_scale"])),
    ("the weight of the first head", lambda op, x: _bmm(op, x["a"], x["b"][:1], x["a_scale"] * x["b_scale"])),
    ("heads the other way round", lambda op, x: _bmm(op, x["a"], x["b"].flip(0), x["a_scale"] * x["b_scale"])),
]
_LATENT = {"hidden": 96, "q_lora_rank": 40, "kv_lora_rank": 24, "rope_dim": 8}
_HEADS = {"batch": 5, "m": 9, "n": 48, "k": 32}
SMALL: list[tuple[str, dict[str, Any]]] = [
    ("matmul", {"m": 37, "n": 129, "k": 257}),
    ("matmul", {"m": 1, "n": 33, "k": 64, "dtype": "fp16"}),
    ("dsv3_fused_a_gemm", {"tokens": 13, **_LATENT}),
    ("dsv3_fused_a_gemm", {"tokens": 1, "hidden": 77, "q_lora_rank": 3, "kv_lora_rank": 129, "rope_dim": 1}),
    ("dsv3_router_gemm", {"tokens": 13, "hidden": 257, "experts": 33}),
    ("dsv3_router_gemm", {"tokens": 1, "hidden": 96, "experts": 256, "out_dtype": "bf16"}),
    ("bmm_fp8", _HEADS),
    ("bmm_fp8", {"batch": 1, "m": 1, "n": 129, "k": 77, "out_dtype": "fp16"}),
    ("bmm_fp8", {"batch": 3, "m": 33, "n": 5, "k": 160, "fp8": "fp8_e4m3fnuz"}),
]
CHEATS = [
    Cheat("matmul", {"m": 37, "n": 129, "k": 257}, "half of the sum", _halved(("a", "weight"))),
    Cheat(
        "matmul",
        {"m": 37, "n": 64, "k": 64},
        "the weight turned",
        _out(lambda op, x: x["a"].float() @ x["weight"].float()),
    ),
    Cheat(
        "matmul",
        {"m": 37, "n": 128, "k": 256},
        "in fp8",
        _out(lambda op, x: x["a"].to(torch.float8_e4m3fn).float() @ x["weight"].float().T),
    ),
    Cheat("dsv3_fused_a_gemm", {"tokens": 13, **_LATENT}, "half of the sum", _halved(("mat_a", "weight"))),
    Cheat("dsv3_fused_a_gemm", {"tokens": 13, **_LATENT}, "query last", _swapped),
    Cheat("dsv3_fused_a_gemm", {"tokens": 13, **_LATENT}, "without the rotary key", _without_rope),
    Cheat(
        "dsv3_fused_a_gemm",
        {"tokens": 13, **_LATENT},
        "the weight read by rows",
        _out(lambda op, x: x["mat_a"].float() @ _read_by_rows(x["weight"].float()).T),
    ),
    Cheat(
        "dsv3_router_gemm",
        {"tokens": 13, "hidden": 256, "experts": 64},
        "half of the sum",
        _halved(("hidden_states", "router_weights")),
    ),
    Cheat(
        "dsv3_router_gemm",
        {"tokens": 13, "hidden": 256, "experts": 64},
        "rounded to bf16 on the way",
        lambda op, inputs, want: {"out": want["out"].bfloat16()},
    ),
    Cheat(
        "dsv3_router_gemm",
        {"tokens": 13, "hidden": 256, "experts": 256},
        "the weight turned",
        _out(lambda op, x: x["hidden_states"].float() @ x["router_weights"].float()),
    ),
    *(Cheat("bmm_fp8", _HEADS, what, _out(change)) for what, change in _SCALED),
]
