"""flashinfer: kernels of flashinfer-python, compiled at their first call, which falls into the correctness check."""

from typing import TYPE_CHECKING

from ..operator import Launch
from ..operators.fused_add_rms_norm import FusedAddRmsNorm
from ..operators.rms_norm import RmsNorm
from ..operators.silu_and_mul import SiluAndMul
from ._pdl import pdl

if TYPE_CHECKING:
    from torch import Tensor

_NEEDS = ("flashinfer-python", "torch")


@RmsNorm.provider("flashinfer", needs=_NEEDS)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    import torch
    from flashinfer.norm import rmsnorm

    out, early = torch.empty_like(x), pdl(x)
    return lambda: rmsnorm(x, weight, op.eps, out=out, enable_pdl=early)


@FusedAddRmsNorm.provider("flashinfer", needs=_NEEDS, inplace=("x", "residual"))
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    from flashinfer.norm import fused_add_rmsnorm

    early = pdl(x)

    def launch() -> tuple["Tensor", "Tensor"]:
        fused_add_rmsnorm(x, residual, weight, op.eps, enable_pdl=early)
        return x, residual

    return launch


@SiluAndMul.provider("flashinfer", needs=_NEEDS)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    from flashinfer.activation import silu_and_mul

    out, early = x.new_empty((op.tokens, op.hidden)), pdl(x)
    return lambda: silu_and_mul(x, out, enable_pdl=early)
