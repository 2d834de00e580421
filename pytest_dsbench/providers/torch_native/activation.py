"""Activations between the products of an MLP."""

from typing import TYPE_CHECKING

from ...operators.silu_and_mul import SiluAndMul
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    from torch import Tensor


def silu_and_mul(x: "Tensor") -> "Tensor":
    """silu of the first half of every row times the second half."""
    from torch.nn.functional import silu

    gate, up = x.chunk(2, -1)
    return silu(gate) * up


@native(SiluAndMul)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    return lambda: silu_and_mul(x)
