"""Mixture of experts."""

from typing import TYPE_CHECKING

from ...operator import Launch
from ...operators.fused_moe import FusedMoe
from ...operators.moe_sum_reduce import MoeSumReduce
from ...operators.moe_topk_gating_softmax import MoeTopkGatingSoftmax
from . import in_registers, on_tensor_cores, ours

if TYPE_CHECKING:
    from torch import Tensor


@ours(MoeTopkGatingSoftmax)
def _moe_topk_gating_softmax(op: MoeTopkGatingSoftmax, gating_output: "Tensor") -> Launch:
    from ...kernels.topk_softmax import topk_softmax

    in_registers("experts", op.experts)
    return lambda: topk_softmax(gating_output, op.top_k)


@ours(MoeSumReduce)
def _moe_sum_reduce(op: MoeSumReduce, expert_outputs: "Tensor") -> Launch:
    from ...kernels.moe_sum_reduce import moe_sum_reduce

    return lambda: moe_sum_reduce(expert_outputs, op.scale)


@ours(FusedMoe)
def _fused_moe(
    op: FusedMoe, hidden_states: "Tensor", w1: "Tensor", w2: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor"
) -> Launch:
    from ...kernels.fused_moe import fused_moe

    on_tensor_cores(op.dtype)
    return lambda: fused_moe(hidden_states, w1, w2, topk_weights, topk_ids)
