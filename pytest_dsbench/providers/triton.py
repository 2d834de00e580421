"""triton: our own kernels; on a CPU only in Triton's interpreter, which shows that they are right, not that they are fast."""

import os
from typing import TYPE_CHECKING

from ..operator import Launch, Unsupported
from ..operators.fp8_dynamic_per_token_quant import Fp8DynamicPerTokenQuant
from ..operators.rms_norm import RmsNorm
from ..operators.silu_and_mul import SiluAndMul

if TYPE_CHECKING:
    from torch import Tensor

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_DEVICES = ("cpu", "cuda") if _INTERPRETED else ("cuda",)


@RmsNorm.provider("triton", needs=("triton",), devices=_DEVICES, timed=not _INTERPRETED)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    from ..kernels.rms_norm import rms_norm

    return lambda: rms_norm(x, weight, op.eps)


@SiluAndMul.provider("triton", needs=("triton",), devices=_DEVICES, timed=not _INTERPRETED)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    from ..kernels.silu_and_mul import silu_and_mul

    return lambda: silu_and_mul(x)


@Fp8DynamicPerTokenQuant.provider("triton", needs=("triton",), devices=_DEVICES, timed=not _INTERPRETED)
def _fp8_dynamic_per_token_quant(op: Fp8DynamicPerTokenQuant, x: "Tensor") -> Launch:
    from ..kernels.fp8_quant import fp8_quant

    if op.fp8 != "fp8_e4m3":
        raise Unsupported(f"triton cannot write {op.fp8}: on NVIDIA GPUs Triton converts to fp8_e4m3 only")
    return lambda: fp8_quant(x)
