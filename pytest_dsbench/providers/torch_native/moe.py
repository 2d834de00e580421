"""Mixture of experts: routing, and the sum of what the experts gave."""

from typing import TYPE_CHECKING

from ...operators.moe_align_block_size import MoeAlignBlockSize
from ...operators.moe_count_and_sort import MoeCountAndSort
from ...operators.moe_sum_reduce import MoeSumReduce
from ...operators.moe_topk_gating_softmax import MoeTopkGatingSoftmax
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    from torch import Tensor


@native(MoeTopkGatingSoftmax)
def _moe_topk_gating_softmax(op: MoeTopkGatingSoftmax, gating_output: "Tensor") -> Launch:
    def launch() -> tuple["Tensor", "Tensor"]:
        weights, ids = gating_output.softmax(-1).topk(op.top_k)
        return weights, ids.int()

    return launch


def by_expert(topk_ids: "Tensor", experts: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
    """Flat positions of topk_ids by expert, their experts, and where each expert's end, int32; experts is 0, 1, ... as int32."""
    import torch

    ids, order = topk_ids.flatten().sort(stable=True)
    return order, ids, torch.searchsorted(ids, experts, right=True, out_int32=True)


@native(MoeAlignBlockSize)
def _moe_align_block_size(op: MoeAlignBlockSize, topk_ids: "Tensor") -> Launch:
    import torch

    count, size, blocks = topk_ids.numel(), op.block_size, op.blocks
    experts = torch.arange(op.experts, dtype=torch.int32, device=topk_ids.device)
    places = torch.arange(count, device=topk_ids.device)
    numbers = torch.arange(blocks, device=topk_ids.device)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        order, ids, ends = by_expert(topk_ids, experts)
        counts = ends.diff(prepend=ends.new_zeros(1))
        filled = (counts + size - 1) // size
        last = filled.cumsum(0)
        # How far the padding of the experts before it moves each expert's positions.
        shift = (last - filled) * size - (ends - counts)
        aligned = order.new_full((blocks * size,), count, dtype=torch.int32)
        aligned[places + shift[ids]] = order.int()
        owners = torch.searchsorted(last, numbers, right=True, out_int32=True)
        return aligned, owners, (last[-1:] * size).int()

    return launch


@native(MoeCountAndSort)
def _moe_count_and_sort(op: MoeCountAndSort, topk_ids: "Tensor") -> Launch:
    import torch

    experts = torch.arange(op.experts, dtype=torch.int32, device=topk_ids.device)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        order, _, ends = by_expert(topk_ids, experts)
        bounds = torch.cat([ends.new_zeros(1), ends])
        return order.int(), bounds.diff(), bounds

    return launch


@native(MoeSumReduce)
def _moe_sum_reduce(op: MoeSumReduce, expert_outputs: "Tensor") -> Launch:
    import torch

    if op.scale == 1.0:
        return lambda: expert_outputs.sum(1)
    # Scaling the sum after it was rounded would round it twice.
    return lambda: (expert_outputs.sum(1, dtype=torch.float32) * op.scale).to(expert_outputs.dtype)
