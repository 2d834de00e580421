"""vllm, by the signatures of its public sources: no wheel of it was opened."""

# ruff: noqa: A002

from typing import Any

import torch
from torch import Tensor

from . import Library, numerics

_HERE = Library(("vllm",))
_OPS, _CUSTOM = "vllm._custom_ops", "vllm/_custom_ops.py"


@_HERE.function(_OPS, _CUSTOM)
def rms_norm(out: Tensor, input: Tensor, weight: Tensor, epsilon: float) -> None:
    """Rounds before the weight."""
    ones = torch.ones_like(weight)
    out.copy_(numerics.rms(input, ones, epsilon).to(input.dtype) * weight)


@_HERE.function(_OPS, _CUSTOM)
def fused_add_rms_norm(input: Tensor, residual: Tensor, weight: Tensor, epsilon: float) -> None:
    residual.copy_(input + residual)
    rms_norm(input, residual, weight, epsilon)


@_HERE.operation("_C", overload=False)
def silu_and_mul(result: Tensor, input: Tensor) -> None:
    """Rounds before the product."""
    gate, up = input.chunk(2, -1)
    result.copy_(torch.nn.functional.silu(gate) * up)


@_HERE.function(_OPS, _CUSTOM)
def rotary_embedding(
    positions: Tensor, query: Tensor, key: Tensor | None, head_size: int, cos_sin_cache: Tensor, is_neox: bool
) -> None:
    """In place, and every step rounded to the dtype of queries and table."""
    assert positions.dtype == torch.int64 and cos_sin_cache.dtype == query.dtype and is_neox and key is not None
    cos, sin = cos_sin_cache[positions].chunk(2, -1)
    for x in (query, key):
        heads = x.unflatten(-1, (-1, head_size))
        heads.copy_(numerics.rotated(heads, cos, sin))


@_HERE.function("vllm.model_executor.layers.rotary_embedding.mrope", "vllm/model_executor/layers/rotary_embedding/mrope.py")
def triton_mrope(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    mrope_section: list[int],
    head_size: int,
    rotary_dim: int,
    mrope_interleaved: bool,
) -> tuple[Tensor, Tensor]:
    """In place: cos and sin [3, tokens, rotary_dim / 2]."""
    assert not mrope_interleaved and cos.shape[-1] * 2 == rotary_dim
    time, height = mrope_section[0], mrope_section[0] + mrope_section[1]
    axes = [torch.cat([t[0, :, :time], t[1, :, time:height], t[2, :, height:]], -1) for t in (cos, sin)]
    for x in (q, k):
        heads = x.unflatten(-1, (-1, head_size))
        heads.copy_(numerics.rotated(heads, *axes))
    return q, k


@_HERE.function(_OPS, _CUSTOM)
def reshape_and_cache_flash(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
    kv_cache_dtype: str,
    k_scale: Tensor,
    v_scale: Tensor,
) -> None:
    assert kv_cache_dtype == "auto"
    numerics.store(key, value, key_cache, value_cache, slot_mapping)


@_HERE.function("vllm.v1.attention.ops.triton_unified_attention", "vllm/v1/attention/ops/triton_unified_attention.py")
def unified_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    cu_seqlens_q: Tensor,
    max_seqlen_q: int,
    seqused_k: Tensor,
    max_seqlen_k: int,
    softmax_scale: float,
    causal: bool,
    window_size: tuple[int, int],
    block_table: Tensor,
    softcap: float,
    q_descale: Any,
    k_descale: Tensor,
    v_descale: Tensor,
    seq_threshold_3D: int | None = None,  # noqa: N803
    num_par_softmax_segments: int | None = None,
    softmax_segm_output: Tensor | None = None,
    softmax_segm_max: Tensor | None = None,
    softmax_segm_expsum: Tensor | None = None,
) -> None:
    assert causal and q_descale is None and softcap == 0 and window_size == (-1, -1)
    assert max(seqused_k.tolist()) == max_seqlen_k and max(cu_seqlens_q.diff().tolist()) == max_seqlen_q
    done = []
    pieces = q.split(cu_seqlens_q.diff().tolist())
    for some, pages, length in zip(pieces, block_table, seqused_k.tolist(), strict=True):
        keys, values = (numerics.paged(cache, pages, length) for cache in (k, v))
        done.append(numerics.attention(some, keys, values, causal=True, scale=softmax_scale))
    out.copy_(torch.cat(done))


@_HERE.function(_OPS, _CUSTOM)
def topk_softmax(topk_weights: Tensor, topk_ids: Tensor, token_expert_indices: Tensor, gating_output: Tensor) -> None:
    assert token_expert_indices.shape == topk_ids.shape and token_expert_indices.dtype == torch.int32
    numerics.route(topk_weights, topk_ids, gating_output, False)


@_HERE.function(_OPS, _CUSTOM)
def moe_align_block_size(
    topk_ids: Tensor,
    num_experts: int,
    block_size: int,
    sorted_token_ids: Tensor,
    experts_ids: Tensor,
    num_tokens_post_pad: Tensor,
) -> None:
    assert num_experts < 1024
    order, owners = numerics.aligned(topk_ids, num_experts, block_size)
    numerics.fill(sorted_token_ids, order, topk_ids.numel())
    numerics.fill(experts_ids, owners, 0)
    num_tokens_post_pad.fill_(len(order))


@_HERE.function("vllm.model_executor.layers.fused_moe", "vllm/model_executor/layers/fused_moe/fused_moe.py")
def fused_experts(hidden_states: Tensor, w1: Tensor, w2: Tensor, topk_weights: Tensor, topk_ids: Tensor) -> Tensor:
    return numerics.experts(hidden_states, w1, w2, topk_weights, topk_ids)
