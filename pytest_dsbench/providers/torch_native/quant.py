"""Quantisation of activations."""

from typing import TYPE_CHECKING

from ...operator import Launch
from ...operators.fp8_dynamic_per_token_quant import Fp8DynamicPerTokenQuant
from . import native

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def quantise(x: "Tensor", encoding: "torch.dtype") -> tuple["Tensor", "Tensor"]:
    """x [tokens, hidden] as fp8 codes of `encoding`, and one fp32 scale per row."""
    import torch

    largest = torch.finfo(encoding).max
    scale = x.abs().amax(-1, keepdim=True).float().clamp_min(1e-12) / largest
    codes = (x * scale.reciprocal()).clamp(-largest, largest).to(encoding)
    return codes, scale.squeeze(-1)


@native(Fp8DynamicPerTokenQuant)
def _fp8_dynamic_per_token_quant(op: Fp8DynamicPerTokenQuant, x: "Tensor") -> Launch:
    from ...tensors import torch_dtype

    encoding = torch_dtype(op.fp8)
    return lambda: quantise(x, encoding)
