"""Attention: FlashAttention 3 and FlashMLA, which the package brings along."""

from typing import TYPE_CHECKING

from ...operators.attention_forward import AttentionForward
from ...operators.mla_decode_attention import MlaDecodeAttention
from ...operators.paged_attention_decode import PagedAttentionDecode
from ...operators.unified_attention import UnifiedAttention
from ...provider import Launch
from .._case import capability, half, only
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor

#: Keys to a page of FlashMLA.
_PAGE = 64


@AttentionForward.provider("sgl_kernel", needs=NEEDS)
def _attention_forward(
    op: AttentionForward, q: "Tensor", k: "Tensor", v: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_k: "Tensor"
) -> Launch:
    from sgl_kernel.flash_attn import flash_attn_varlen_func

    _flash(q, op.dtype, op.head_dim)
    longest = max(op.seq_lens)
    return lambda: flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q=longest, max_seqlen_k=longest)


@UnifiedAttention.provider("sgl_kernel", needs=NEEDS)
def _unified_attention(
    op: UnifiedAttention,
    q: "Tensor",
    k_cache: "Tensor",
    v_cache: "Tensor",
    cu_seqlens_q: "Tensor",
    kv_lens: "Tensor",
    block_table: "Tensor",
) -> Launch:
    from sgl_kernel.flash_attn import flash_attn_with_kvcache

    _flash(q, op.dtype, op.head_dim)
    longest = max(op.q_lens)
    return lambda: flash_attn_with_kvcache(
        q,
        k_cache,
        v_cache,
        cache_seqlens=kv_lens,
        page_table=block_table,
        cu_seqlens_q=cu_seqlens_q,
        max_seqlen_q=longest,
        causal=op.causal,
    )


@PagedAttentionDecode.provider("sgl_kernel", needs=NEEDS)
def _paged_attention_decode(
    op: PagedAttentionDecode, query: "Tensor", k_cache: "Tensor", v_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
) -> Launch:
    from sgl_kernel.flash_attn import flash_attn_with_kvcache

    only(op.layout == "nhd", f"sgl_kernel's flash_attn reads caches of layout nhd, not {op.layout}")
    _flash(query, op.dtype, op.head_dim)
    # [sequences, 1 token, q_heads, head_dim]
    q = query[:, None]

    def launch() -> "Tensor":
        out: Tensor = flash_attn_with_kvcache(q, k_cache, v_cache, cache_seqlens=seq_lens, page_table=block_tables)
        return out[:, 0]

    return launch


def _flash(q: "Tensor", dtype: str, head_dim: int) -> None:
    half("sgl_kernel's flash_attn", dtype)
    only(capability(q)[0] in (8, 9), "sgl_kernel's flash_attn runs on compute capability 8.x and 9.0")
    fits = head_dim % 8 == 0 and head_dim <= 256
    only(fits, f"sgl_kernel's flash_attn takes heads of at most 256 columns, in steps of 8, not {head_dim}")


@MlaDecodeAttention.provider("sgl_kernel", needs=NEEDS)
def _mla_decode_attention(op: MlaDecodeAttention, q: "Tensor", kv_cache: "Tensor", seq_lens: "Tensor") -> Launch:
    """FlashMLA, with the pages of every sequence one after the other; how it splits the work is settled beforehand."""
    import torch
    from sgl_kernel.flash_mla import flash_mla_with_kvcache, get_mla_metadata

    half("sgl_kernel's flash_mla", op.dtype)
    only(capability(q)[0] == 9, "sgl_kernel's flash_mla runs on compute capability 9.0")
    fits = (op.kv_lora_rank, op.rope_dim) == (512, 64)
    only(fits, f"sgl_kernel's flash_mla is made for 512 + 64 columns, not {op.kv_lora_rank} + {op.rope_dim}")
    ragged = [length for length in op.kv_lens if length % _PAGE]
    only(not ragged, f"sgl_kernel's flash_mla reads pages of {_PAGE} keys, which {ragged[:1]} do not fill")
    first = torch.tensor(op.bounds[:-1]) // _PAGE
    table = (first[:, None] + torch.arange(max(op.kv_lens) // _PAGE)).int()
    # Past its own pages, a sequence names pages that exist.
    pages = table.clamp_max(op.bounds[-1] // _PAGE - 1).to(q.device)
    tokens, cache = q[:, None], kv_cache.view(-1, _PAGE, 1, op.width)
    plan, splits = get_mla_metadata(torch.tensor(op.kv_lens, dtype=torch.int32, device=q.device), op.heads, 1)

    def launch() -> "Tensor":
        out: Tensor
        out, _ = flash_mla_with_kvcache(tokens, cache, pages, seq_lens, op.kv_lora_rank, plan, splits)
        return out[:, 0]

    return launch
