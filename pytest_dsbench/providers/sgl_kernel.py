"""sgl_kernel: SGLang's own kernels, reached through torch.ops: its Python norms may hand over to flashinfer without a word."""

from typing import TYPE_CHECKING

from ..operator import Launch
from ..operators.fused_add_rms_norm import FusedAddRmsNorm
from ..operators.rms_norm import RmsNorm
from ..operators.silu_and_mul import SiluAndMul
from ._pdl import pdl

if TYPE_CHECKING:
    from torch import Tensor

_NEEDS = ("sgl-kernel|sglang-kernel", "torch")


@RmsNorm.provider("sgl_kernel", needs=_NEEDS)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    import sgl_kernel  # noqa: F401
    import torch

    kernel = torch.ops.sgl_kernel.rmsnorm.default
    out, early = torch.empty_like(x), pdl(x)

    def launch() -> "Tensor":
        kernel(out, x, weight, op.eps, early)
        return out

    return launch


@FusedAddRmsNorm.provider("sgl_kernel", needs=_NEEDS, inplace=("x", "residual"))
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    import sgl_kernel  # noqa: F401
    import torch

    kernel = torch.ops.sgl_kernel.fused_add_rmsnorm.default
    early = pdl(x)

    def launch() -> tuple["Tensor", "Tensor"]:
        kernel(x, residual, weight, op.eps, early)
        return x, residual

    return launch


@SiluAndMul.provider("sgl_kernel", needs=_NEEDS)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    import sgl_kernel  # noqa: F401
    import torch

    kernel = torch.ops.sgl_kernel.silu_and_mul.default
    out = x.new_empty((op.tokens, op.hidden))

    def launch() -> "Tensor":
        kernel(out, x)
        return out

    return launch
