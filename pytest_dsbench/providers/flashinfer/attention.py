"""Attention: FlashInfer's wrappers, planned from the lengths of the case; a plan holds no values of the inputs.

A wrapper keeps the tensor of page ids that it is planned with and reads it at every run, so a launch brings that up to date.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

from ...operators._paged import filled
from ...operators.attention_forward import AttentionForward
from ...operators.mla_decode_attention import MlaDecodeAttention
from ...operators.paged_attention_decode import PagedAttentionDecode
from ...operators.reshape_and_cache import ReshapeAndCache
from ...operators.unified_attention import UnifiedAttention
from ...provider import Launch
from .._case import half, only
from .._paged import page_ids
from .._pdl import pdl
from . import NEEDS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Bytes of memory for partial results, as SGLang gives it.
_WORKSPACE = 384 * 2**20
#: From so many query heads to a head of the cache on, tensor cores are faster at decoding.
_TENSOR_CORES = 4


@lru_cache(maxsize=1)
def _workspace(device: "torch.device") -> "Tensor":
    """Memory for partial results: one for all wrappers, since their launches come one after another."""
    import torch

    return torch.zeros(_WORKSPACE, dtype=torch.uint8, device=device)


def _made_for(dtype: str, head_dim: int) -> None:
    half("flashinfer's attention", dtype)
    only(head_dim in (64, 128, 256), f"flashinfer's attention is made for heads of 64, 128 or 256 columns, not {head_dim}")


def _bounds(counts: Sequence[int]) -> "Tensor":
    """int32 on the host: where each of them begins, and where the last one ends."""
    import torch

    return torch.tensor([*accumulate(counts, initial=0)], dtype=torch.int32)


@AttentionForward.provider("flashinfer", needs=NEEDS)
def _attention_forward(
    op: AttentionForward, q: "Tensor", k: "Tensor", v: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_k: "Tensor"
) -> Launch:
    import torch
    from flashinfer.prefill import BatchPrefillWithRaggedKVCacheWrapper

    _made_for(op.dtype, op.head_dim)
    bounds = _bounds(op.seq_lens)
    wrapper = BatchPrefillWithRaggedKVCacheWrapper(_workspace(q.device), "NHD")
    wrapper.plan(bounds, bounds, op.heads, op.heads, op.head_dim, causal=False, q_data_type=q.dtype, kv_data_type=k.dtype)
    out, early = torch.empty_like(q), pdl(q)
    return lambda: wrapper.run(q, k, v, out=out, enable_pdl=early)


@UnifiedAttention.provider("flashinfer", needs=NEEDS)
def _unified_attention(
    op: UnifiedAttention,
    q: "Tensor",
    k_cache: "Tensor",
    v_cache: "Tensor",
    cu_seqlens_q: "Tensor",
    kv_lens: "Tensor",
    block_table: "Tensor",
) -> Launch:
    import torch
    from flashinfer.prefill import BatchPrefillWithPagedKVCacheWrapper

    _made_for(op.dtype, op.head_dim)
    pages, ends = _pages(op.keys, op.page_size)
    ids, refresh = page_ids(block_table, pages)
    wrapper = BatchPrefillWithPagedKVCacheWrapper(_workspace(q.device), "NHD")
    wrapper.plan(
        _bounds(op.q_lens),
        _bounds(pages),
        ids,
        ends,
        op.q_heads,
        op.kv_heads,
        op.head_dim,
        op.page_size,
        causal=op.causal,
        q_data_type=q.dtype,
        kv_data_type=k_cache.dtype,
    )
    out, early = torch.empty_like(q), pdl(q)

    def launch() -> "Tensor":
        refresh()
        wrapper.run(q, (k_cache, v_cache), out=out, enable_pdl=early)
        return out

    return launch


@PagedAttentionDecode.provider("flashinfer", needs=NEEDS)
def _paged_attention_decode(
    op: PagedAttentionDecode, query: "Tensor", k_cache: "Tensor", v_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
) -> Launch:
    import torch
    from flashinfer.decode import BatchDecodeWithPagedKVCacheWrapper

    only(op.layout == "nhd", f"flashinfer reads caches of layout nhd, not {op.layout}")
    _made_for(op.dtype, op.head_dim)
    pages, ends = _pages(op.kv_lens, op.page_size)
    ids, refresh = page_ids(block_tables, pages)
    matrix = op.q_heads // op.kv_heads >= _TENSOR_CORES
    wrapper = BatchDecodeWithPagedKVCacheWrapper(_workspace(query.device), "NHD", use_tensor_cores=matrix)
    wrapper.plan(
        _bounds(pages),
        ids,
        ends,
        op.q_heads,
        op.kv_heads,
        op.head_dim,
        op.page_size,
        q_data_type=query.dtype,
        kv_data_type=k_cache.dtype,
    )
    out, early = torch.empty_like(query), pdl(query)

    def launch() -> "Tensor":
        refresh()
        wrapper.run(query, (k_cache, v_cache), out=out, enable_pdl=early)
        return out

    return launch


def _pages(lengths: Sequence[int], page_size: int) -> tuple[list[int], "Tensor"]:
    """Pages of each sequence, and, int32 on the host, how many keys its last one holds."""
    import torch

    pages = [filled(length, page_size) for length in lengths]
    ends = [length - (count - 1) * page_size for length, count in zip(lengths, pages, strict=True)]
    return pages, torch.tensor(ends, dtype=torch.int32)


@MlaDecodeAttention.provider("flashinfer", needs=NEEDS)
def _mla_decode_attention(op: MlaDecodeAttention, q: "Tensor", kv_cache: "Tensor", seq_lens: "Tensor") -> Launch:
    """Pages of one key each, in the order of the cache."""
    import torch
    from flashinfer.mla import BatchMLAPagedAttentionWrapper

    half("flashinfer's MLA", op.dtype)
    fits = (op.kv_lora_rank, op.rope_dim) == (512, 64)
    only(fits, f"flashinfer's MLA is made for 512 + 64 columns, not {op.kv_lora_rank} + {op.rope_dim}")
    wrapper = BatchMLAPagedAttentionWrapper(_workspace(q.device))
    wrapper.plan(
        torch.arange(len(op.kv_lens) + 1, dtype=torch.int32),
        _bounds(op.kv_lens),
        torch.arange(sum(op.kv_lens), dtype=torch.int32, device=q.device),
        torch.tensor(op.kv_lens, dtype=torch.int32),
        op.heads,
        op.kv_lora_rank,
        op.rope_dim,
        1,
        False,
        op.width**-0.5,
        q.dtype,
        kv_cache.dtype,
    )
    q_nope, q_rope = q[..., : op.kv_lora_rank], q[..., op.kv_lora_rank :]
    latent, k_rope = kv_cache[..., : op.kv_lora_rank], kv_cache[..., op.kv_lora_rank :]
    out = q.new_empty(q_nope.shape)
    return lambda: wrapper.run(q_nope, q_rope, latent, k_rope, out=out)


@ReshapeAndCache.provider("flashinfer", needs=NEEDS, inplace=("key_cache", "value_cache"))
def _reshape_and_cache(
    op: ReshapeAndCache, key: "Tensor", value: "Tensor", key_cache: "Tensor", value_cache: "Tensor", slot_mapping: "Tensor"
) -> Launch:
    """All pages belong to one sequence, in whose order slots are positions; it narrows them to 32 bits, an elementwise kernel."""
    import torch
    from flashinfer.page import append_paged_kv_cache

    _made_for(op.dtype, op.head_dim)
    threads = op.heads * op.head_dim // max(8, op.head_dim // 32)
    only(threads <= 1024, f"flashinfer's append_paged_kv_cache takes at most {1024 * op.heads // threads} heads, not {op.heads}")
    sequence = torch.zeros(op.tokens, dtype=torch.int32, device=key.device)
    ids = torch.arange(op.pages, dtype=torch.int32, device=key.device)
    bounds, end = (torch.tensor(values, dtype=torch.int32, device=key.device) for values in ([0, op.pages], [op.page_size]))

    def launch() -> tuple["Tensor", "Tensor"]:
        append_paged_kv_cache(key, value, sequence, slot_mapping, (key_cache, value_cache), ids, bounds, end)
        return key_cache, value_cache

    return launch
