"""Activations between the products of an MLP."""

from typing import TYPE_CHECKING

from ...operators.silu_and_mul import SiluAndMul
from ...provider import Launch
from . import ours

if TYPE_CHECKING:
    from torch import Tensor


@ours(SiluAndMul)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    from ...kernels.silu_and_mul import silu_and_mul

    return lambda: silu_and_mul(x)
