"""Rotary embeddings."""

from typing import TYPE_CHECKING

from ...operators.mrope import Mrope
from ...provider import Launch
from . import ours

if TYPE_CHECKING:
    from torch import Tensor


@ours(Mrope, inplace=("q", "k"))
def _mrope(op: Mrope, q: "Tensor", k: "Tensor", cos: "Tensor", sin: "Tensor") -> Launch:
    from ...kernels.mrope import mrope

    return lambda: mrope(q, k, cos, sin, op.head_dim, op.sections)
