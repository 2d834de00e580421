"""Mixture of experts."""

from typing import TYPE_CHECKING

from ...operators.fused_moe import FusedMoe
from ...operators.moe_align_block_size import MoeAlignBlockSize
from ...operators.moe_sum_reduce import MoeSumReduce
from ...operators.moe_topk_gating_softmax import MoeTopkGatingSoftmax
from ...provider import Launch, Unsupported
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
    _countable(op.experts)
    return lambda: fused_moe(hidden_states, w1, w2, topk_weights, topk_ids)


@ours(MoeAlignBlockSize)
def _moe_align_block_size(op: MoeAlignBlockSize, topk_ids: "Tensor") -> Launch:
    from ...kernels.moe_align import align

    _countable(op.experts)
    if op.block_size & (op.block_size - 1):
        raise Unsupported(f"block_size = {op.block_size} is no power of two: Triton has no other tiles")

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        # Allocated for the worst case, since the host does not know how many blocks the ids fill.
        pairs, experts, padded = align(topk_ids, op.experts, op.block_size)
        return pairs[: op.blocks * op.block_size], experts[: op.blocks], padded

    return launch


def _countable(experts: int) -> None:
    """Raises Unsupported where the counts of the experts do not fit into the registers of one program."""
    from ...kernels.moe_align import MOST_EXPERTS

    if experts > MOST_EXPERTS:
        raise Unsupported(f"experts = {experts}: this kernel keeps their counts in registers, up to {MOST_EXPERTS} of them")
