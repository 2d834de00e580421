"""Normalisations."""

from typing import TYPE_CHECKING

from ...operator import Launch
from ...operators.rms_norm import RmsNorm
from . import ours

if TYPE_CHECKING:
    from torch import Tensor


@ours(RmsNorm)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    from ...kernels.rms_norm import rms_norm

    return lambda: rms_norm(x, weight, op.eps)
