"""Quantisation of activations."""

from typing import Any

import torch
from torch import Tensor

from . import Cheat, Tensors


def _coded(values: Tensor, scale: Tensor, like: torch.dtype) -> Tensor:
    largest = torch.finfo(like).max
    return (values / scale).clamp(-largest, largest).to(like)


def _scale_of_the_row(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    x, dtype = inputs["x"].float(), want["q"].dtype
    scale = x.abs().amax(-1, keepdim=True) / torch.finfo(dtype).max
    return {"q": _coded(x, scale, dtype), "scale": scale.expand(want["scale"].shape).contiguous()}


def _codes_of_the_row(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"q": _scale_of_the_row(op, inputs, want)["q"]}


def _to_the_other_range(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """The largest code of the other encoding."""
    ratio = 448 / 240 if op.fp8 == "fp8_e4m3fnuz" else 240 / 448
    scale = want["scale"] / ratio
    values = want["q"].float() * want["scale"].repeat_interleave(op.group, -1)
    return {"q": _coded(values, scale.repeat_interleave(op.group, -1), want["q"].dtype), "scale": scale}


def _towards_zero(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """Codes cut off instead of rounded."""
    exact = inputs["x"].float() / want["scale"].repeat_interleave(op.group, -1)
    too_far = want["q"].float().abs() > exact.abs()
    codes = want["q"].clone().view(torch.uint8)
    return {"q": (codes - too_far.to(torch.uint8)).view(want["q"].dtype)}


def _normed(op: Any, inputs: Tensors, total: Tensor, eps: float) -> Tensor:
    wide = total.double()
    return wide * (wide.square().mean(-1, keepdim=True) + eps).rsqrt() * inputs["weight"].double()


def _quantised(op: Any, normed: Tensor, want: Tensors) -> Tensors:
    from pytest_dsbench.tensors import torch_dtype

    dtype = torch_dtype(op.fp8)
    scale = normed.abs().amax(-1) / torch.finfo(dtype).max
    return {"q": _coded(normed, scale[:, None], dtype), "scale": scale.float()}


def _without_residual(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return _quantised(op, _normed(op, inputs, inputs["x"], op.eps), want)


def _residual_as_it_came(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"residual": inputs["residual"]}


def _quant_without_eps(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return _quantised(op, _normed(op, inputs, want["residual"], 0.0), want)


def _unweighted(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    normed = _normed(op, inputs, want["residual"], op.eps) / inputs["weight"].double()
    return _quantised(op, normed, want)


def _codes_unweighted(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    normed = _normed(op, inputs, want["residual"], op.eps) / inputs["weight"].double()
    return {"q": _coded(normed, want["scale"][:, None].double(), _quantised(op, normed, want)["q"].dtype)}


def _one_scale_for_all(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    normed, scale = _normed(op, inputs, want["residual"], op.eps), want["scale"].amax()
    return {
        "q": _coded(normed, scale.double(), _quantised(op, normed, want)["q"].dtype),
        "scale": scale.expand(want["scale"].shape).contiguous(),
    }


def _codes_of_another_scale(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """Right by the scale that was used, but a scale 3 % away is returned."""
    normed = _normed(op, inputs, want["residual"], op.eps)
    return {"q": _coded(normed, want["scale"][:, None].double() * 1.03, _quantised(op, normed, want)["q"].dtype)}


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("fp8_dynamic_per_token_quant", {"tokens": 129, "hidden": 77}),
    ("fp8_dynamic_per_token_quant", {"tokens": 33, "hidden": 1000, "fp8": "fp8_e4m3fnuz"}),
    ("per_token_group_quant_fp8", {"tokens": 37, "hidden": 384}),
    ("per_token_group_quant_fp8", {"tokens": 1, "hidden": 256, "fp8": "fp8_e4m3fnuz"}),
    ("per_token_group_quant_fp8", {"tokens": 5, "hidden": 99, "group": 33, "dtype": "fp16"}),
    ("per_token_group_quant_fp8", {"tokens": 3, "hidden": 64, "group": 64, "dtype": "fp32"}),
    ("fused_rmsnorm_quant", {"tokens": 37, "hidden": 384}),
    ("fused_rmsnorm_quant", {"tokens": 1, "hidden": 129, "fp8": "fp8_e4m3fnuz"}),
    ("fused_rmsnorm_quant", {"tokens": 5, "hidden": 77, "dtype": "fp16"}),
    ("fused_rmsnorm_quant", {"tokens": 3, "hidden": 200, "dtype": "fp32", "fp8": "fp8_e4m3fnuz", "eps": 1e-6}),
]
_ENCODINGS = ("fp8_e4m3", "fp8_e4m3fnuz")
CHEATS = [
    *(
        Cheat("per_token_group_quant_fp8", {"tokens": 37, "hidden": 384, "fp8": fp8}, f"{what} ({fp8})", outputs)
        for what, outputs in (
            ("one scale per row", _scale_of_the_row),
            ("codes by one scale per row", _codes_of_the_row),
            ("the range of the other encoding", _to_the_other_range),
            ("codes cut off", _towards_zero),
        )
        for fp8 in _ENCODINGS
    ),
    *(
        Cheat("fused_rmsnorm_quant", {"tokens": 37, "hidden": 384, "fp8": fp8}, f"{what} ({fp8})", outputs)
        for what, outputs in (
            ("without the residual", _without_residual),
            ("the residual as it came", _residual_as_it_came),
            ("without eps", _quant_without_eps),
            ("without the weight", _unweighted),
            ("codes without the weight", _codes_unweighted),
            ("one scale for all rows", _one_scale_for_all),
            ("codes by another scale than it returns", _codes_of_another_scale),
        )
        for fp8 in _ENCODINGS
    ),
]
CONTRADICTIONS = [
    ("fp8_dynamic_per_token_quant", {"tokens": 1, "hidden": 8, "fp8": "fp8_e5m2"}, "unknown fp8 'fp8_e5m2'"),
    ("per_token_group_quant_fp8", {"tokens": 1, "hidden": 200}, "hidden = 200 is no multiple of group = 128"),
    ("fused_rmsnorm_quant", {"tokens": 1, "hidden": 8, "fp8": "fp8_e5m2"}, "unknown fp8 'fp8_e5m2'"),
]
