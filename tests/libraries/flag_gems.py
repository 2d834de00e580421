"""flag_gems: norms, rotary embedding, quantisation, chunked linear attention and attention."""

# ruff: noqa: A002, N803

from typing import Any

import torch
from torch import Tensor

from . import Library, numerics

HERE = Library(("flag_gems",))
_OPS, _FUSED = "flag_gems/ops/", "flag_gems/fused/"


@HERE.function("flag_gems.ops", f"{_OPS}rms_norm.py")
def rms_norm_forward(x: Tensor, normalized_shape: Any, weight: Tensor, eps: float = 1e-05) -> tuple[Tensor, None]:
    assert tuple(normalized_shape) == tuple(weight.shape)
    return numerics.rms(x, weight, eps).to(x.dtype), None


@HERE.function("flag_gems.fused", f"{_FUSED}fused_add_rms_norm.py")
def fused_add_rms_norm(x: Tensor, residual: Tensor, normalized_shape: Any, weight: Tensor, eps: float = 1e-05) -> Any:
    total = x.float() + residual.float()
    return x.copy_(numerics.rms(total, weight, eps)), residual.copy_(total)


@HERE.function("flag_gems.ops", f"{_OPS}layernorm.py")
def layer_norm(input: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-05) -> Any:
    return numerics.layer(input, weight, bias, eps).to(input.dtype), None, None


@HERE.function("flag_gems.fused", f"{_FUSED}silu_and_mul.py")
def silu_and_mul_out(A: Tensor, B: Tensor, out: Tensor) -> Tensor:
    return out.copy_(numerics.gated(torch.cat([A, B], -1)))


@HERE.function("flag_gems.fused", f"{_FUSED}rotary_embedding.py")
def apply_rotary_pos_emb(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, position_ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    assert position_ids is not None and cos.shape[-1] * 2 == q.shape[-1]
    c, s = (table[position_ids.long()] for table in (cos, sin))
    return numerics.rotated(q, c, s), numerics.rotated(k, c, s)


@HERE.function("flag_gems.ops", f"{_OPS}per_token_group_quant_fp8.py")
def per_token_group_quant_fp8(
    x: Tensor, group_size: int, eps: float = 1e-10, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    assert dtype is not None
    largest, groups = torch.finfo(dtype).max, x.float().unflatten(-1, (-1, group_size))
    scale = groups.abs().amax(-1, keepdim=True).clamp_min(eps) / largest
    return (groups / scale).clamp(-largest, largest).flatten(-2).to(dtype), scale[..., 0]


@HERE.function("flag_gems", f"{_OPS}w8a8_block_fp8_matmul.py")
def w8a8_block_fp8_matmul(
    A: Tensor, B: Tensor, As: Tensor, Bs: Tensor, block_size: list[int], output_dtype: torch.dtype
) -> Tensor:
    rows, columns = block_size
    wide = B.float() * Bs.repeat_interleave(rows, 0)[: len(B)].repeat_interleave(columns, 1)
    return (A.float() * As.repeat_interleave(columns, 1) @ wide.T).to(output_dtype)


@HERE.function("flag_gems.fused.FLA.chunk_delta_h", f"{_FUSED}FLA/chunk_delta_h.py")
def chunk_gated_delta_rule_fwd_h(
    k: Tensor,
    w: Tensor,
    u: Tensor,
    g: Tensor | None = None,
    gk: Any = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    chunk_size: int = 64,
) -> tuple[Tensor, Tensor, Tensor]:
    assert g is not None and initial_state is not None and output_final_state and len(initial_state) == len(k)
    return numerics.chunked_state(k, w, u, g, initial_state, chunk_size, torch.exp)


@HERE.function("flag_gems.fused.FLA.chunk_o", f"{_FUSED}FLA/chunk_o.py")
def chunk_fwd_o(
    q: Tensor, k: Tensor, v: Tensor, h: Tensor, g: Tensor | None = None, scale: Any = None, *, chunk_size: int = 64
) -> Tensor:
    assert g is not None and scale is None
    return numerics.chunked_output(q, k, v, h, g, chunk_size, torch.exp)


@HERE.function("flag_gems.ops.attention", f"{_OPS}attention.py")
def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    max_seqlen_q: int,
    cu_seqlens_q: Tensor,
    max_seqlen_k: int,
    cu_seqlens_k: Tensor | None = None,
    seqused_k: Tensor | None = None,
    *,
    causal: bool = False,
    block_table: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Ragged keys with bounds, or a paged cache with lengths and a table."""
    assert out is not None and (cu_seqlens_k is None) != (seqused_k is None) and (seqused_k is None) == (block_table is None)
    queries = cu_seqlens_q.diff().tolist()
    if seqused_k is None:
        keys = cu_seqlens_k.diff().tolist()
        pairs = list(zip(k.split(keys), v.split(keys), strict=True))
    else:
        keys = seqused_k.tolist()
        rows = list(zip(block_table, keys, strict=True))
        pairs = [(numerics.paged(k, pages, length), numerics.paged(v, pages, length)) for pages, length in rows]
    assert max(queries) == max_seqlen_q and max(keys) == max_seqlen_k
    done = [numerics.attention(some, *pair, causal=causal) for some, pair in zip(q.split(queries), pairs, strict=True)]
    return out.copy_(torch.cat(done))


@HERE.function("flag_gems.fused", f"{_FUSED}flash_mla.py")
def flash_mla(
    q: Tensor,
    block_table: Tensor,
    blocked_k: Tensor,
    max_seqlen_pad: int,
    block_size: int,
    b: int,
    s_q: int,
    cache_seqlens: Tensor,
    h_q: int,
    h_kv: int,
    d: int,
    dv: int,
    causal: bool,
) -> Tensor:
    """q [sequences, 1, heads, d], blocked_k [pages, block_size, 1, d]."""
    assert (len(q), s_q, h_q, h_kv, d) == (b, *q.shape[1:3], 1, q.shape[3]) and blocked_k.shape[1] == block_size and causal
    assert max_seqlen_pad == block_table.shape[1] * block_size
    done = []
    for some, pages, length in zip(q, block_table, cache_seqlens.tolist(), strict=True):
        keys = numerics.paged(blocked_k, pages[: -(-length // block_size)], length)
        done.append(numerics.attention(some, keys, keys[..., :dv]))
    return torch.stack(done)


@HERE.function("flag_gems.fused", f"{_FUSED}reshape_and_cache_flash.py")
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
