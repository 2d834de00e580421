"""Quantisation of activations."""

from typing import TYPE_CHECKING

from ...operators.fp8_dynamic_per_token_quant import Fp8DynamicPerTokenQuant
from ...operators.fused_rmsnorm_quant import FusedRmsnormQuant
from ...operators.per_token_group_quant_fp8 import SMALLEST_SCALE, PerTokenGroupQuantFp8
from ...provider import Launch, Unsupported
from ...units import Fp8Dtype
from . import in_registers, ours

if TYPE_CHECKING:
    from torch import Tensor

#: The largest code of e4m3fn.
_LARGEST = 448.0


@ours(Fp8DynamicPerTokenQuant)
def _fp8_dynamic_per_token_quant(op: Fp8DynamicPerTokenQuant, x: "Tensor") -> Launch:
    from ...kernels.fp8_quant import fp8_quant

    _written_here(op.fp8)
    return lambda: fp8_quant(x)


@ours(PerTokenGroupQuantFp8)
def _per_token_group_quant_fp8(op: PerTokenGroupQuantFp8, x: "Tensor") -> Launch:
    """The groups of a contiguous tensor are rows of a narrower one."""
    from ...kernels.fp8_quant import fp8_quant

    _written_here(op.fp8)

    def launch() -> "tuple[Tensor, Tensor]":
        q, scale = fp8_quant(x.view(-1, op.group), SMALLEST_SCALE * _LARGEST)
        return q.view(x.shape), scale.view(op.tokens, -1)

    return launch


@ours(FusedRmsnormQuant, inplace=("residual",))
def _fused_rmsnorm_quant(op: FusedRmsnormQuant, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    from ...kernels.fused_rmsnorm_quant import fused_rmsnorm_quant

    _written_here(op.fp8)
    in_registers("hidden", op.hidden)
    return lambda: fused_rmsnorm_quant(x, residual, weight, op.eps)


def _written_here(fp8: Fp8Dtype) -> None:
    if fp8 != "fp8_e4m3":
        raise Unsupported(f"triton cannot write {fp8}: on NVIDIA GPUs Triton converts to fp8_e4m3 only")
