"""Mixtures of experts: routing, sorting tokens by expert, and the sum at the end."""

from typing import TYPE_CHECKING

from ...operators.moe_align_block_size import MoeAlignBlockSize
from ...operators.moe_sum_reduce import MoeSumReduce
from ...operators.moe_topk_gating_softmax import MoeTopkGatingSoftmax
from ...provider import Launch
from .._case import only
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor

#: Integers that it writes at a time.
_AT_ONCE = 4
#: From so many tokens on it sums bf16 16 columns at a time, wherever 8 divide a row.
_WIDE_FROM = 257


@MoeTopkGatingSoftmax.provider("sgl_kernel", needs=NEEDS)
def _moe_topk_gating_softmax(op: MoeTopkGatingSoftmax, gating_output: "Tensor") -> Launch:
    import torch
    from sgl_kernel import topk_softmax

    weights = gating_output.new_empty((op.tokens, op.top_k))
    ids = weights.new_empty(weights.shape, dtype=torch.int32)

    def launch() -> tuple["Tensor", "Tensor"]:
        topk_softmax(weights, ids, gating_output, False)
        return weights, ids

    return launch


@MoeAlignBlockSize.provider("sgl_kernel", needs=NEEDS)
def _moe_align_block_size(op: MoeAlignBlockSize, topk_ids: "Tensor") -> Launch:
    """Into buffers for the worst case, as SGLang allocates them. It counts one expert more, for ids of -1."""
    from sgl_kernel import moe_align_block_size

    buckets, ids = op.experts + 1, topk_ids.numel()
    most = ids + buckets * (op.block_size - 1) if ids >= buckets else ids * op.block_size
    order = topk_ids.new_empty(-(-most // _AT_ONCE) * _AT_ONCE)
    owners, count = topk_ids.new_empty(-(-most // op.block_size)), topk_ids.new_empty(1)
    sums = topk_ids.new_empty(buckets + 1)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        moe_align_block_size(topk_ids, buckets, op.block_size, order, owners, count, sums, True)
        return order[: op.blocks * op.block_size], owners[: op.blocks], count

    return launch


@MoeSumReduce.provider("sgl_kernel", needs=NEEDS)
def _moe_sum_reduce(op: MoeSumReduce, expert_outputs: "Tensor") -> Launch:
    from sgl_kernel import moe_sum_reduce

    lost = op.dtype == "bf16" and op.tokens >= _WIDE_FROM and op.hidden % 16 == 8
    only(not lost, f"sgl_kernel's moe_sum_reduce leaves out the last 8 of hidden = {op.hidden} columns")
    out = expert_outputs.new_empty((op.tokens, op.hidden))

    def launch() -> "Tensor":
        moe_sum_reduce(expert_outputs, out, op.scale)
        return out

    return launch
