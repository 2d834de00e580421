"""sgl_kernel: operations that it registers with torch, its attention, and what it has for mixtures of experts."""

# ruff: noqa: A002

from typing import Any

import torch
from torch import Tensor

from . import Library, numerics

_HERE = Library(("sgl_kernel", "sglang_kernel"))
#: Until 0.4.4.
_BEFORE = Library(("sgl_kernel", "sglang_kernel-0.4.[0-4]"))
_HERE.value("sgl_kernel", "__version__", "0.3.21")


@_HERE.operation("sgl_kernel")
def rmsnorm(output: Tensor, input: Tensor, weight: Tensor, eps: float, enable_pdl: bool) -> None:
    assert input.stride(-1) == output.stride(-1) == 1 and input.dim() == 2
    output.copy_(numerics.rms(input, weight, eps))


@_HERE.operation("sgl_kernel")
def fused_add_rmsnorm(input: Tensor, residual: Tensor, weight: Tensor, eps: float, enable_pdl: bool) -> None:
    total = input.float() + residual.float()
    residual.copy_(total)
    input.copy_(numerics.rms(total, weight, eps))


@_HERE.operation("sgl_kernel")
def silu_and_mul(out: Tensor, input: Tensor) -> None:
    out.copy_(numerics.gated(input))


@_HERE.operation("sgl_kernel")
def rotary_embedding(positions: Tensor, query: Tensor, key: Tensor, head_size: int, cos_sin_cache: Tensor, is_neox: bool) -> None:
    """In place, and every step rounded to the dtype of queries and table."""
    assert positions.dtype == torch.int64 and cos_sin_cache.dtype == query.dtype and is_neox
    cos, sin = cos_sin_cache[positions].chunk(2, -1)
    for x in (query, key):
        heads = x.unflatten(-1, (-1, head_size))
        heads.copy_(numerics.rotated(heads, cos, sin))


@_HERE.operation("sgl_kernel")
def causal_conv1d_fwd(
    x: Tensor,
    weight: Tensor,
    bias_: Tensor,
    conv_states: Tensor,
    query_start_loc: Any,
    cache_indices: Any,
    has_initial_state: Tensor,
    silu_activation: bool,
    pad_slot_id: int,
) -> None:
    """x [batch, channels, tokens] becomes the output, and the last inputs the state."""
    assert query_start_loc is cache_indices is None and has_initial_state.dtype == torch.bool and silu_activation
    rows = torch.cat([conv_states, x], -1)
    total = torch.nn.functional.conv1d(rows.float(), weight.float()[:, None], bias_.float(), groups=len(weight))
    conv_states.copy_(rows[..., rows.shape[-1] - conv_states.shape[-1] :])
    x.copy_(total * total.sigmoid())


@_BEFORE.operation("sgl_kernel")
def fp8_blockwise_scaled_mm(mat_a: Tensor, mat_b: Tensor, scales_a: Tensor, scales_b: Tensor, out_dtype: torch.dtype) -> Tensor:
    """mat_b [k, n] and both scales column by column."""
    assert mat_a.stride(1) == mat_b.stride(0) == 1
    assert scales_a.shape == (len(mat_a), mat_a.shape[1] // 128) and scales_a.stride(0) == 1
    assert scales_b.shape == (mat_b.shape[0] // 128, mat_b.shape[1] // 128) and scales_b.stride(0) == 1
    a = mat_a.float() * scales_a.repeat_interleave(128, 1)
    b = mat_b.float() * scales_b.repeat_interleave(128, 0).repeat_interleave(128, 1)
    return (a @ b).to(out_dtype)


@_HERE.function("sgl_kernel.flash_attn", "sgl_kernel/flash_attn.py")
def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    queries, keys = cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist()
    assert max(queries) == max_seqlen_q and max(keys) == max_seqlen_k
    pieces = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
    return torch.cat([numerics.attention(*piece, causal=causal) for piece in pieces])


@_HERE.function("sgl_kernel.flash_attn", "sgl_kernel/flash_attn.py")
def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    *,
    cache_seqlens: Tensor,
    page_table: Tensor,
    cu_seqlens_q: Tensor | None = None,
    max_seqlen_q: int | None = None,
    causal: bool = False,
) -> Tensor:
    """q [sequences, queries, heads, dim], or with bounds [tokens, heads, dim]."""
    pieces = list(q) if cu_seqlens_q is None else list(q.split(cu_seqlens_q.diff().tolist()))
    done = []
    for some, pages, length in zip(pieces, page_table, cache_seqlens.tolist(), strict=True):
        k, v = (numerics.paged(cache, pages, length) for cache in (k_cache, v_cache))
        done.append(numerics.attention(some, k, v, causal=causal))
    return torch.stack(done) if cu_seqlens_q is None else torch.cat(done)


@_HERE.function("sgl_kernel.flash_mla", "sgl_kernel/flash_mla.py")
def get_mla_metadata(cache_seqlens: Tensor, num_q_tokens_per_head_k: int, num_heads_k: int) -> tuple[Tensor, Tensor]:
    assert cache_seqlens.dtype == torch.int32 and num_heads_k == 1
    return torch.tensor([num_q_tokens_per_head_k]), cache_seqlens.clone()


@_HERE.function("sgl_kernel.flash_mla", "sgl_kernel/flash_mla.py")
def flash_mla_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    block_table: Tensor,
    cache_seqlens: Tensor,
    head_dim_v: int,
    tile_scheduler_metadata: Tensor,
    num_splits: Tensor,
) -> tuple[Tensor, None]:
    """q [sequences, 1, heads, dim], k_cache [pages, 64, 1, dim]."""
    assert k_cache.shape[1:3] == (64, 1) and block_table.dtype == torch.int32
    assert torch.equal(num_splits, cache_seqlens) and int(tile_scheduler_metadata) == q.shape[1] * q.shape[2]
    assert int(block_table.min()) >= 0 and int(block_table.max()) < len(k_cache)
    done = []
    for some, pages, length in zip(q, block_table, cache_seqlens.tolist(), strict=True):
        keys = numerics.paged(k_cache, pages, length)
        done.append(numerics.attention(some, keys, keys[..., :head_dim_v]))
    return torch.stack(done), None


@_HERE.function("sgl_kernel", "sgl_kernel/moe.py")
def topk_softmax(
    topk_weights: Tensor,
    topk_ids: Tensor,
    gating_output: Tensor,
    renormalize: bool = False,
    moe_softcapping: float = 0.0,
    correction_bias: Tensor | None = None,
) -> None:
    assert not moe_softcapping and (correction_bias is None or correction_bias.dtype == torch.float32)
    numerics.route(topk_weights, topk_ids, gating_output, renormalize, correction_bias)


@_HERE.function("sgl_kernel", "sgl_kernel/moe.py")
def moe_align_block_size(
    topk_ids: Tensor,
    num_experts: int,
    block_size: int,
    sorted_token_ids: Tensor,
    experts_ids: Tensor,
    num_tokens_post_pad: Tensor,
    cumsum_buffer: Tensor,
    pad_sorted_token_ids: bool = False,
) -> None:
    """Bucket 0 is for ids of -1; padding is written four integers at a time."""
    assert pad_sorted_token_ids and len(sorted_token_ids) % 4 == 0 and len(cumsum_buffer) == num_experts + 1 <= 1025
    order, owners = numerics.aligned(topk_ids + 1, num_experts, block_size)
    numerics.fill(sorted_token_ids, order, topk_ids.numel())
    numerics.fill(experts_ids, [owner - 1 for owner in owners], -7)
    num_tokens_post_pad.fill_(len(order))


@_HERE.function("sgl_kernel", "sgl_kernel/moe.py")
def moe_sum_reduce(input_tensor: Tensor, output_tensor: Tensor, routed_scaling_factor: float = 0) -> None:
    output_tensor.copy_(input_tensor.float().sum(1) * routed_scaling_factor)
