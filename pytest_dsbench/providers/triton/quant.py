"""Quantisation of activations."""

from typing import TYPE_CHECKING

from ...operator import Launch, Unsupported
from ...operators.fp8_dynamic_per_token_quant import Fp8DynamicPerTokenQuant
from . import ours

if TYPE_CHECKING:
    from torch import Tensor


@ours(Fp8DynamicPerTokenQuant)
def _fp8_dynamic_per_token_quant(op: Fp8DynamicPerTokenQuant, x: "Tensor") -> Launch:
    from ...kernels.fp8_quant import fp8_quant

    if op.fp8 != "fp8_e4m3":
        raise Unsupported(f"triton cannot write {op.fp8}: on NVIDIA GPUs Triton converts to fp8_e4m3 only")
    return lambda: fp8_quant(x)
