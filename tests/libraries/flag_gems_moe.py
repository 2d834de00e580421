"""flag_gems's mixtures of experts, down to the steps that they are made of."""

# ruff: noqa: A002, N803

from enum import Enum
from typing import Any

import torch
from torch import Tensor

from . import numerics
from .flag_gems import HERE, per_token_group_quant_fp8

_FUSED = "flag_gems/fused/"
_MOE = f"{_FUSED}fused_moe.py"


class MoEActivation(Enum):
    SILU = "silu"


HERE.value("flag_gems.fused.fused_moe", "MoEActivation", MoEActivation)


@HERE.function("flag_gems.fused", f"{_FUSED}topk_softmax.py")
def topk_softmax(
    topk_weights: Tensor, topk_indices: Tensor, token_expert_indices: Tensor, gating_output: Tensor, renormalize: bool = False
) -> None:
    assert token_expert_indices.shape == topk_indices.shape and token_expert_indices.dtype == torch.int32
    token_expert_indices.fill_(-7)
    numerics.route(topk_weights, topk_indices, gating_output, renormalize)


@HERE.function("flag_gems.fused", f"{_FUSED}moe_align_block_size.py")
def moe_align_block_size(topk_ids: Tensor, block_size: int, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    most = topk_ids.numel() + num_experts * (block_size - 1)
    order, owners = numerics.aligned(topk_ids, num_experts, block_size)
    sorted_ids, expert_ids = topk_ids.new_empty(most), topk_ids.new_empty(-(-most // block_size))
    numerics.fill(sorted_ids, order, topk_ids.numel())
    numerics.fill(expert_ids, owners, 0)
    return sorted_ids, expert_ids, topk_ids.new_tensor([len(order)])


@HERE.function("flag_gems.fused", f"{_FUSED}moe_sum.py")
def moe_sum(input: Tensor, output: Tensor) -> None:
    output.copy_(input.float().sum(1))


@HERE.function("flag_gems.fused.fused_moe", _MOE)
def fused_experts_impl(
    hidden_states: Tensor, w1: Tensor, w2: Tensor, topk_weights: Tensor, topk_ids: Tensor, inplace: bool = False
) -> Tensor:
    return numerics.experts(hidden_states, w1, w2, topk_weights, topk_ids)


@HERE.function("flag_gems.fused.fused_moe", _MOE)
def try_get_optimal_moe_config(
    w1_shape: Any, w2_shape: Any, top_k: int, dtype: str | None, M: int, E: int, block_shape: Any = None
) -> dict[str, int]:
    """48 rows, as on Hopper."""
    assert dtype == "fp8_w8a8" and len(w1_shape) == len(w2_shape) == 3 and block_shape == [128, 128]
    return {"BLOCK_SIZE_M": 48}


@HERE.function("flag_gems.fused", _MOE)
def dispatch_fused_moe_kernel(
    A: Tensor,
    B: Tensor,
    C: Tensor,
    A_scale: Tensor,
    B_scale: Tensor,
    B_zp: Any,
    topk_weights: Tensor,
    sorted_token_ids: Tensor,
    expert_ids: Tensor,
    num_tokens_post_padded: Tensor,
    mul_routed_weight: bool,
    top_k: int,
    config: dict[str, Any],
    compute_type: Any,
    use_fp8_w8a8: bool,
    use_int8_w8a8: bool,
    use_int8_w8a16: bool,
    use_int4_w4a16: bool,
    per_channel_quant: bool,
    block_shape: Any = None,
) -> None:
    """C[place] = A[place // top_k] times the expert of the place, block by block of the sorted places."""
    assert use_fp8_w8a8 and not (use_int8_w8a8 or use_int8_w8a16 or use_int4_w4a16 or per_channel_quant)
    assert {"bf16": torch.bfloat16, "fp16": torch.float16}[str(compute_type)] == C.dtype
    rows, block = C.view(-1, C.shape[-1]), config["BLOCK_SIZE_M"]
    assert block & (block - 1) == 0
    a = A.float() * A_scale.repeat_interleave(block_shape[1], 1)
    for number in range(int(num_tokens_post_padded) // block):
        places = sorted_token_ids[number * block : (number + 1) * block].long()
        places = places[places < len(rows)]
        expert = int(expert_ids[number])
        b = B[expert].float() * B_scale[expert].repeat_interleave(block_shape[0], 0).repeat_interleave(block_shape[1], 1)
        given = a[places // top_k] @ b.T
        rows[places] = (given * topk_weights.flatten()[places, None] if mul_routed_weight else given).to(C.dtype)


@HERE.function("flag_gems.fused.fused_moe", _MOE)
def apply_moe_activation(activation: MoEActivation, output: Tensor, input: Tensor) -> Tensor:
    assert activation is MoEActivation.SILU
    return output.copy_(numerics.gated(input))


@HERE.function("flag_gems.fused.fused_moe", _MOE)
def moe_kernel_quantize_input(
    A: Tensor, A_scale: Any, quant_dtype: torch.dtype, per_act_token_quant: bool, block_shape: Any = None
) -> tuple[Tensor, Tensor]:
    assert A_scale is None and not per_act_token_quant
    return per_token_group_quant_fp8(A, block_shape[1], dtype=quant_dtype)
