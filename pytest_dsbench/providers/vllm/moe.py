"""Mixtures of experts: routing, sorting tokens by expert, and the experts themselves."""

from typing import TYPE_CHECKING

from ...operators.fused_moe import FusedMoe
from ...operators.moe_align_block_size import MoeAlignBlockSize
from ...operators.moe_topk_gating_softmax import MoeTopkGatingSoftmax
from ...provider import Launch
from .._case import half, only
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor

#: Experts that its sorting kernel can count.
_MOST = 992


@MoeTopkGatingSoftmax.provider("vllm", needs=NEEDS)
def _moe_topk_gating_softmax(op: MoeTopkGatingSoftmax, gating_output: "Tensor") -> Launch:
    """It also writes where each choice would lie expert by expert."""
    import torch
    from vllm._custom_ops import topk_softmax

    weights = gating_output.new_empty((op.tokens, op.top_k))
    ids, places = weights.new_empty((2, *weights.shape), dtype=torch.int32).unbind()

    def launch() -> tuple["Tensor", "Tensor"]:
        topk_softmax(weights, ids, places, gating_output)
        return weights, ids

    return launch


@MoeAlignBlockSize.provider("vllm", needs=NEEDS)
def _moe_align_block_size(op: MoeAlignBlockSize, topk_ids: "Tensor") -> Launch:
    """Into buffers for the worst case, as vLLM allocates them."""
    from vllm._custom_ops import moe_align_block_size

    only(op.experts <= _MOST, f"vllm's moe_align_block_size takes at most {_MOST} experts, not {op.experts}")
    most = topk_ids.numel() + op.experts * (op.block_size - 1)
    order, owners = topk_ids.new_empty(most), topk_ids.new_empty(-(-most // op.block_size))
    count = topk_ids.new_empty(1)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        moe_align_block_size(topk_ids, op.experts, op.block_size, order, owners, count)
        return order[: op.blocks * op.block_size], owners[: op.blocks], count

    return launch


@FusedMoe.provider("vllm", needs=NEEDS)
def _fused_moe(
    op: FusedMoe, hidden_states: "Tensor", w1: "Tensor", w2: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor"
) -> Launch:
    from vllm.model_executor.layers.fused_moe import fused_experts

    half("vllm's fused_experts", op.dtype)
    return lambda: fused_experts(hidden_states, w1, w2, topk_weights, topk_ids)
