"""Mixture of experts."""

from typing import TYPE_CHECKING

from ...operator import Launch
from ...operators.moe_topk_gating_softmax import MoeTopkGatingSoftmax
from . import native

if TYPE_CHECKING:
    from torch import Tensor


@native(MoeTopkGatingSoftmax)
def _moe_topk_gating_softmax(op: MoeTopkGatingSoftmax, gating_output: "Tensor") -> Launch:
    def launch() -> tuple["Tensor", "Tensor"]:
        weights, ids = gating_output.softmax(-1).topk(op.top_k)
        return weights, ids.int()

    return launch
