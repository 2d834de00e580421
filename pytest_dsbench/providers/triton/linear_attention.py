"""Linear attention."""

from typing import TYPE_CHECKING

from ...operators.causal_conv1d import CausalConv1d
from ...provider import Launch, Unsupported
from . import ours

if TYPE_CHECKING:
    from torch import Tensor


@ours(CausalConv1d)
def _causal_conv1d(op: CausalConv1d, x: "Tensor", weight: "Tensor", bias: "Tensor", initial_state: "Tensor") -> Launch:
    from ...kernels.causal_conv1d import WIDEST, causal_conv1d

    if op.width > WIDEST:
        raise Unsupported(f"width = {op.width}: this kernel keeps the tokens that meet in registers, up to {WIDEST} of them")
    return lambda: causal_conv1d(x, weight, bias, initial_state)
