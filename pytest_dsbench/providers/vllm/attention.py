"""Attention: vLLM's unified attention in Triton, and its writes to a paged cache."""

from typing import TYPE_CHECKING

from ...operators.paged_attention_decode import PagedAttentionDecode
from ...operators.reshape_and_cache import ReshapeAndCache
from ...operators.unified_attention import UnifiedAttention
from ...provider import Launch
from .._case import only
from .._paged import cache_writer
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor

#: A decode whose sequences times heads of the cache are fewer than this many is split along the keys, into so many parts.
_SPLIT_BELOW, _PARTS = 128, 16


@ReshapeAndCache.provider("vllm", needs=NEEDS, inplace=("key_cache", "value_cache"))
def _reshape_and_cache(
    op: ReshapeAndCache, key: "Tensor", value: "Tensor", key_cache: "Tensor", value_cache: "Tensor", slot_mapping: "Tensor"
) -> Launch:
    from vllm._custom_ops import reshape_and_cache_flash

    return cache_writer(reshape_and_cache_flash, key, value, key_cache, value_cache, slot_mapping)


@UnifiedAttention.provider("vllm", needs=NEEDS)
def _unified_attention(
    op: UnifiedAttention,
    q: "Tensor",
    k_cache: "Tensor",
    v_cache: "Tensor",
    cu_seqlens_q: "Tensor",
    kv_lens: "Tensor",
    block_table: "Tensor",
) -> Launch:
    only(op.causal, "vllm's unified_attention is causal")
    return _attention(q, k_cache, v_cache, cu_seqlens_q, kv_lens, block_table, max(op.q_lens), max(op.keys))


@PagedAttentionDecode.provider("vllm", needs=NEEDS)
def _paged_attention_decode(
    op: PagedAttentionDecode, query: "Tensor", k_cache: "Tensor", v_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
) -> Launch:
    """Its unified attention with one query per sequence."""
    import torch

    only(op.layout == "nhd", f"vllm's unified_attention reads caches of layout nhd, not {op.layout}")
    bounds = torch.arange(len(op.kv_lens) + 1, dtype=torch.int32, device=query.device)
    return _attention(query, k_cache, v_cache, bounds, seq_lens, block_tables, 1, max(op.kv_lens))


def _attention(
    q: "Tensor",
    k_cache: "Tensor",
    v_cache: "Tensor",
    bounds: "Tensor",
    kv_lens: "Tensor",
    block_table: "Tensor",
    queries: int,
    keys: int,
) -> Launch:
    """As vLLM's Triton backend calls it, with memory of its own for the parts of a decode that is split."""
    import torch
    from vllm.v1.attention.ops.triton_unified_attention import unified_attention

    out, scale = torch.empty_like(q), torch.ones(1, device=q.device)
    _, heads, head_dim = q.shape
    sequences = max(1, _SPLIT_BELOW // k_cache.shape[2])
    width = 1 << (head_dim - 1).bit_length()
    parts = torch.empty((sequences, heads, _PARTS, width), device=q.device)
    highest, total = torch.empty((2, sequences, heads, _PARTS), device=q.device).unbind()

    def launch() -> "Tensor":
        unified_attention(
            q=q,
            k=k_cache,
            v=v_cache,
            out=out,
            cu_seqlens_q=bounds,
            max_seqlen_q=queries,
            seqused_k=kv_lens,
            max_seqlen_k=keys,
            softmax_scale=head_dim**-0.5,
            causal=True,
            window_size=(-1, -1),
            block_table=block_table,
            softcap=0.0,
            q_descale=None,
            k_descale=scale,
            v_descale=scale,
            seq_threshold_3D=sequences,
            num_par_softmax_segments=_PARTS,
            softmax_segm_output=parts,
            softmax_segm_max=highest,
            softmax_segm_expsum=total,
        )
        return out

    return launch
