"""DeepSeek's latent attention: TensorRT-LLM's kernels, FlashInfer's own, and what prepares their queries and keys."""

from functools import lru_cache
from typing import TYPE_CHECKING

from ...operators.concat_mla_k import ConcatMlaK
from ...operators.mla_ragged_prefill import MlaRaggedPrefill
from ...operators.mla_rope_quantize_fp8 import MlaRopeQuantizeFp8
from ...operators.paged_mla_decode import PagedMlaDecode
from ...operators.rope_inplace import RopeInplace
from ...provider import Launch
from .._case import capability, only
from .._paged import page_ids
from .._pdl import pdl
from . import NEEDS
from .attention import _bounds, _pages, _workspace

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Bytes of a workspace of TensorRT-LLM's kernels.
_ZEROED = 128 * 2**20


@lru_cache(maxsize=2)
def _zeroed(device: "torch.device", kernel: str) -> "Tensor":
    """A workspace that is zero at its first use, and left as its kernel needs it at the next: one for all launches of a kernel,
    since they come one after another, and none for two kernels, which may count in other places."""
    import torch

    return torch.zeros(_ZEROED, dtype=torch.uint8, device=device)


@PagedMlaDecode.provider("flashinfer", needs=NEEDS)
def _paged_mla_decode(
    op: PagedMlaDecode, query: "Tensor", kv_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
) -> Launch:
    from flashinfer.mla import trtllm_batch_decode_with_kv_cache_mla

    only(op.dtype == "bf16", f"flashinfer's trtllm_batch_decode_with_kv_cache_mla writes bf16, not {op.dtype}")
    workspace, longest, early = _zeroed(query.device, "decode"), op.max_kv_len, pdl(query)
    out = query.new_empty((op.batch, op.q_len, op.heads, op.kv_lora_rank))
    return lambda: trtllm_batch_decode_with_kv_cache_mla(
        query=query,
        kv_cache=kv_cache,
        workspace_buffer=workspace,
        qk_nope_head_dim=op.nope_dim,
        kv_lora_rank=op.kv_lora_rank,
        qk_rope_head_dim=op.rope_dim,
        block_tables=block_tables,
        seq_lens=seq_lens,
        max_seq_len=longest,
        out=out,
        bmm1_scale=op.scale,
        bmm2_scale=1.0,
        enable_pdl=early,
    )


@PagedMlaDecode.provider("flashinfer_mla", needs=NEEDS)
def _paged_mla_decode_planned(
    op: PagedMlaDecode, query: "Tensor", kv_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
) -> Launch:
    """FlashInfer's own kernels, planned from the lengths; a launch brings the ids of the pages up to date.

    They are named, since what is chosen automatically may read a copy of the ids that was made by the plan.
    """
    import torch
    from flashinfer.mla import BatchMLAPagedAttentionWrapper

    pages, _ = _pages(op.kv_lens, op.page_size)
    ids, refresh = page_ids(block_tables, pages)
    backend = "fa3" if capability(query) == (9, 0) else "fa2"
    wrapper = BatchMLAPagedAttentionWrapper(_workspace(query.device), backend=backend)
    wrapper.plan(
        qo_indptr=_bounds([op.q_len] * op.batch),
        kv_indptr=_bounds(pages),
        kv_indices=ids,
        kv_len_arr=torch.tensor(op.kv_lens, dtype=torch.int32),
        num_heads=op.heads,
        head_dim_ckv=op.kv_lora_rank,
        head_dim_kpe=op.rope_dim,
        page_size=op.page_size,
        causal=op.q_len > 1,
        sm_scale=op.scale,
        q_data_type=query.dtype,
        kv_data_type=kv_cache.dtype,
    )
    rows, rank = query.flatten(0, 1), op.kv_lora_rank
    q_nope, q_pe, latent, k_pe = rows[..., :rank], rows[..., rank:], kv_cache[..., :rank], kv_cache[..., rank:]
    out = query.new_empty(q_nope.shape)

    def launch() -> "Tensor":
        refresh()
        wrapper.run(q_nope=q_nope, q_pe=q_pe, ckv_cache=latent, kpe_cache=k_pe, out=out)
        return out.view(op.batch, op.q_len, op.heads, rank)

    return launch


@MlaRaggedPrefill.provider("flashinfer", needs=NEEDS)
def _mla_ragged_prefill(
    op: MlaRaggedPrefill, query: "Tensor", key: "Tensor", value: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_kv: "Tensor"
) -> Launch:
    import torch
    from flashinfer.prefill import trtllm_ragged_attention_deepseek

    workspace, early = _zeroed(query.device, "prefill"), pdl(query)
    lengths = torch.tensor(op.keys, dtype=torch.int32, device=query.device)
    most_queries, most_keys = max(op.q_lens), max(op.keys)
    out = query.new_empty((op.tokens, op.heads, op.v_dim))
    return lambda: trtllm_ragged_attention_deepseek(
        query=query,
        key=key,
        value=value,
        workspace_buffer=workspace,
        seq_lens=lengths,
        max_q_len=most_queries,
        max_kv_len=most_keys,
        bmm1_scale=op.width**-0.5,
        bmm2_scale=1.0,
        o_sf_scale=1.0,
        batch_size=op.batch,
        window_left=-1,
        cum_seq_lens_q=cu_seqlens_q,
        cum_seq_lens_kv=cu_seqlens_kv,
        enable_pdl=early,
        is_causal=op.causal,
        return_lse=False,
        out=out,
    )


@MlaRaggedPrefill.provider("flashinfer_ragged", needs=NEEDS)
def _mla_ragged_prefill_planned(
    op: MlaRaggedPrefill, query: "Tensor", key: "Tensor", value: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_kv: "Tensor"
) -> Launch:
    """FlashInfer's own kernels, planned from the lengths."""
    from flashinfer.prefill import BatchPrefillWithRaggedKVCacheWrapper

    wrapper = BatchPrefillWithRaggedKVCacheWrapper(_workspace(query.device), "NHD")
    wrapper.plan(
        _bounds(op.q_lens),
        _bounds(op.keys),
        op.heads,
        op.heads,
        op.width,
        head_dim_vo=op.v_dim,
        causal=op.causal,
        q_data_type=query.dtype,
        kv_data_type=key.dtype,
    )
    out, early = query.new_empty((op.tokens, op.heads, op.v_dim)), pdl(query)
    return lambda: wrapper.run(query, key, value, out=out, enable_pdl=early)


@MlaRopeQuantizeFp8.provider("flashinfer", needs=NEEDS)
def _mla_rope_quantize_fp8(
    op: MlaRopeQuantizeFp8,
    q_rope: "Tensor",
    k_rope: "Tensor",
    q_nope: "Tensor",
    k_nope: "Tensor",
    cos_sin_cache: "Tensor",
    pos_ids: "Tensor",
) -> Launch:
    """It writes both parts of a query, and of a key, side by side into one buffer."""
    import torch
    from flashinfer.rope import mla_rope_quantize_fp8

    rank, fp8 = op.kv_lora_rank, torch.float8_e4m3fn
    q = q_nope.new_empty((op.tokens, op.heads, op.width), dtype=fp8)
    k = k_nope.new_empty((op.tokens, op.width), dtype=fp8)
    q_rope_out, q_nope_out, k_rope_out, k_nope_out = q[..., rank:], q[..., :rank], k[..., rank:], k[..., :rank]
    early = pdl(q_nope)

    def launch() -> tuple["Tensor", "Tensor"]:
        mla_rope_quantize_fp8(
            q_rope,
            k_rope,
            q_nope,
            k_nope,
            cos_sin_cache,
            pos_ids,
            is_neox=op.neox,
            quantize_dtype=fp8,
            quant_scale_q=op.quant_scale_q,
            quant_scale_kv=op.quant_scale_kv,
            q_rope_out=q_rope_out,
            k_rope_out=k_rope_out,
            q_nope_out=q_nope_out,
            k_nope_out=k_nope_out,
            enable_pdl=early,
        )
        return q, k

    return launch


@RopeInplace.provider("flashinfer", needs=NEEDS, inplace=("query", "key"))
def _rope_inplace(op: RopeInplace, query: "Tensor", key: "Tensor", positions: "Tensor", cos_sin_cache: "Tensor") -> Launch:
    from flashinfer.rope import apply_rope_with_cos_sin_cache_inplace

    def launch() -> tuple["Tensor", "Tensor"]:
        apply_rope_with_cos_sin_cache_inplace(positions, query, key, op.head_dim, cos_sin_cache, is_neox=op.neox)
        return query, key

    return launch


@ConcatMlaK.provider("flashinfer", needs=NEEDS)
def _concat_mla_k(op: ConcatMlaK, kv: "Tensor", k_rope: "Tensor") -> Launch:
    """It writes into a k that is given, and reads each head's own columns beside the values."""
    from flashinfer.concat_ops import concat_mla_k

    k_nope, k = kv[..., : op.nope_dim], kv.new_empty((op.tokens, op.heads, op.width))

    def launch() -> "Tensor":
        concat_mla_k(k, k_nope, k_rope)
        return k

    return launch
