"""Quantisation of activations."""

from typing import TYPE_CHECKING

from ...operators.fp8_dynamic_per_token_quant import Fp8DynamicPerTokenQuant
from ...operators.fused_rmsnorm_quant import FusedRmsnormQuant
from ...operators.per_token_group_quant_fp8 import SMALLEST_SCALE, PerTokenGroupQuantFp8
from ...provider import Launch
from . import native
from .norm import add_rms_norm

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


@native(PerTokenGroupQuantFp8)
def _per_token_group_quant_fp8(op: PerTokenGroupQuantFp8, x: "Tensor") -> Launch:
    import torch

    from ...tensors import torch_dtype

    encoding = torch_dtype(op.fp8)
    largest = torch.finfo(encoding).max

    def launch() -> tuple["Tensor", "Tensor"]:
        groups = x.view(op.tokens, -1, op.group)
        scale = (groups.abs().amax(-1).float() / largest).clamp_min(SMALLEST_SCALE)
        codes = (groups / scale[..., None]).clamp(-largest, largest).to(encoding)
        return codes.view(x.shape), scale

    return launch


@native(FusedRmsnormQuant)
def _fused_rmsnorm_quant(op: FusedRmsnormQuant, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    import torch

    from ...tensors import torch_dtype

    encoding = torch_dtype(op.fp8)
    largest = torch.finfo(encoding).max

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        normed, total = add_rms_norm(x, residual, weight, op.eps)
        highest = normed.abs().amax(-1).float()
        scale = (highest / largest).masked_fill(highest == 0, 1.0)
        codes = (normed / scale[:, None]).clamp(-largest, largest).to(encoding)
        return codes, scale, total

    return launch
