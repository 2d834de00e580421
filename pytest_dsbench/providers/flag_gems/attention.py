"""Attention: FlagGems's flash attention and flash MLA in Triton, and its writes to a paged cache."""

from math import gcd
from typing import TYPE_CHECKING

from ...operators.attention_forward import AttentionForward
from ...operators.mla_decode_attention import MlaDecodeAttention
from ...operators.paged_attention_decode import PagedAttentionDecode
from ...operators.reshape_and_cache import ReshapeAndCache
from ...operators.unified_attention import UnifiedAttention
from ...provider import Launch
from .._case import capability, half, only
from .._paged import cache_writer
from . import NEEDS, with_block_pointers

if TYPE_CHECKING:
    from torch import Tensor

#: Keys that flash_mla takes at a time; pages need not be larger.
_BLOCK = 64


@AttentionForward.provider("flag_gems", needs=NEEDS)
def _attention_forward(
    op: AttentionForward, q: "Tensor", k: "Tensor", v: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_k: "Tensor"
) -> Launch:
    from flag_gems.ops.attention import flash_attn_varlen_func

    _flash(op.dtype, op.head_dim)
    longest, out = max(op.seq_lens), q.new_empty(q.shape)
    return lambda: flash_attn_varlen_func(q, k, v, longest, cu_seqlens_q, longest, cu_seqlens_k, out=out)


@UnifiedAttention.provider("flag_gems", needs=NEEDS)
def _unified_attention(
    op: UnifiedAttention,
    q: "Tensor",
    k_cache: "Tensor",
    v_cache: "Tensor",
    cu_seqlens_q: "Tensor",
    kv_lens: "Tensor",
    block_table: "Tensor",
) -> Launch:
    from flag_gems.ops.attention import flash_attn_varlen_func

    _flash(op.dtype, op.head_dim)
    queries, keys, out = max(op.q_lens), max(op.keys), q.new_empty(q.shape)
    return lambda: flash_attn_varlen_func(
        q,
        k_cache,
        v_cache,
        queries,
        cu_seqlens_q,
        keys,
        seqused_k=kv_lens,
        causal=op.causal,
        block_table=block_table,
        out=out,
    )


@PagedAttentionDecode.provider("flag_gems", needs=NEEDS)
def _paged_attention_decode(
    op: PagedAttentionDecode, query: "Tensor", k_cache: "Tensor", v_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
) -> Launch:
    import torch
    from flag_gems.ops.attention import flash_attn_varlen_func

    only(op.layout == "nhd", f"flag_gems's flash attention reads caches of layout nhd, not {op.layout}")
    _flash(op.dtype, op.head_dim)
    longest, out = max(op.kv_lens), query.new_empty(query.shape)
    bounds = torch.arange(len(op.kv_lens) + 1, dtype=torch.int32, device=query.device)
    return lambda: flash_attn_varlen_func(
        query, k_cache, v_cache, 1, bounds, longest, seqused_k=seq_lens, block_table=block_tables, out=out
    )


def _flash(dtype: str, head_dim: int) -> None:
    half("flag_gems's flash attention", dtype)
    # It loads whole tiles, so what is beside a narrower head would be read as well.
    fits = head_dim in (16, 32, 64, 128, 256)
    only(fits, f"flag_gems's flash attention takes heads of 16, 32, 64, 128 or 256 columns, not {head_dim}")
    with_block_pointers("flag_gems's flash attention")


@MlaDecodeAttention.provider("flag_gems", needs=NEEDS)
def _mla_decode_attention(op: MlaDecodeAttention, q: "Tensor", kv_cache: "Tensor", seq_lens: "Tensor") -> Launch:
    """Pages as large as the lengths allow, in the order of the cache. It scales by (512 + 64)^-1/2, as the operator does."""
    import torch
    from flag_gems.fused import flash_mla

    half("flag_gems's flash_mla", op.dtype)
    only(capability(q)[0] in (8, 9), "flag_gems's flash_mla runs on compute capability 8.x and 9.0")
    fits = (op.kv_lora_rank, op.rope_dim) == (512, 64)
    only(fits, f"flag_gems's flash_mla is made for 512 + 64 columns, not {op.kv_lora_rank} + {op.rope_dim}")
    page, longest, sequences = gcd(_BLOCK, *op.kv_lens), max(op.kv_lens), len(op.kv_lens)
    first = torch.tensor(op.bounds[:-1]) // page
    pages = (first[:, None] + torch.arange(longest // page)).int().to(q.device)
    tokens, cache = q[:, None], kv_cache.view(-1, page, 1, op.width)

    def launch() -> "Tensor":
        out: Tensor = flash_mla(
            tokens, pages, cache, longest, page, sequences, 1, seq_lens, op.heads, 1, op.width, op.kv_lora_rank, True
        )
        return out[:, 0]

    return launch


@ReshapeAndCache.provider("flag_gems", needs=NEEDS, inplace=("key_cache", "value_cache"))
def _reshape_and_cache(
    op: ReshapeAndCache, key: "Tensor", value: "Tensor", key_cache: "Tensor", value_cache: "Tensor", slot_mapping: "Tensor"
) -> Launch:
    from flag_gems.fused import reshape_and_cache_flash

    return cache_writer(reshape_and_cache_flash, key, value, key_cache, value_cache, slot_mapping)
