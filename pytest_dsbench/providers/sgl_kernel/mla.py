"""DeepSeek's latent attention: CUTLASS over a paged cache, FlashAttention 3 before it is absorbed, and what prepares them."""

from typing import TYPE_CHECKING

from ...operators.concat_mla_k import ConcatMlaK
from ...operators.mla_ragged_prefill import MlaRaggedPrefill
from ...operators.paged_mla_decode import PagedMlaDecode
from ...operators.rope_inplace import RopeInplace
from ...provider import Launch
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor

#: How many ways the keys of a sequence are split: -1 leaves it to the kernel, which is faster than 1 for few long sequences.
_SPLITS = -1


@PagedMlaDecode.provider("sgl_kernel", needs=NEEDS)
def _paged_mla_decode(
    op: PagedMlaDecode, query: "Tensor", kv_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
) -> Launch:
    """It takes both parts of the queries where they lie, by their strides, and allocates what it returns.

    Kernel and workspace settle the splits alike, from the width of the table and the batch, if both are told of the same number:
    by its name, since the third place of the latter is that of the multiprocessors.
    """
    import torch
    from sgl_kernel import cutlass_mla_decode, cutlass_mla_get_workspace_size

    tokens = query[:, 0]
    q_nope, q_pe = tokens[..., : op.kv_lora_rank], tokens[..., op.kv_lora_rank :]
    size = cutlass_mla_get_workspace_size(block_tables.shape[1] * op.page_size, op.batch, num_kv_splits=_SPLITS)
    workspace = torch.empty(size, dtype=torch.uint8, device=query.device)

    def launch() -> "Tensor":
        out: Tensor = cutlass_mla_decode(
            q_nope, q_pe, kv_cache, seq_lens, block_tables, workspace, op.scale, num_kv_splits=_SPLITS
        )
        return out[:, None]

    return launch


@MlaRaggedPrefill.provider("sgl_kernel", needs=NEEDS)
def _mla_ragged_prefill(
    op: MlaRaggedPrefill, query: "Tensor", key: "Tensor", value: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_kv: "Tensor"
) -> Launch:
    """FlashAttention 3, whose mask is aligned to the last key, and whose scale is by itself that of the query's columns."""
    from sgl_kernel.flash_attn import flash_attn_varlen_func

    most_queries, most_keys = max(op.q_lens), max(op.keys)
    return lambda: flash_attn_varlen_func(
        query,
        key,
        value,
        cu_seqlens_q,
        cu_seqlens_kv,
        max_seqlen_q=most_queries,
        max_seqlen_k=most_keys,
        causal=op.causal,
    )


@RopeInplace.provider("sgl_kernel", needs=NEEDS, inplace=("query", "key"))
def _rope_inplace(op: RopeInplace, query: "Tensor", key: "Tensor", positions: "Tensor", cos_sin_cache: "Tensor") -> Launch:
    from sgl_kernel import apply_rope_with_cos_sin_cache_inplace

    def launch() -> tuple["Tensor", "Tensor"]:
        apply_rope_with_cos_sin_cache_inplace(positions, query, key, op.head_dim, cos_sin_cache, is_neox=op.neox)
        return query, key

    return launch


@ConcatMlaK.provider("sgl_kernel", needs=NEEDS)
def _concat_mla_k(op: ConcatMlaK, kv: "Tensor", k_rope: "Tensor") -> Launch:
    """It writes into a k that is given, and reads each head's own columns beside the values."""
    from sgl_kernel import concat_mla_k

    k_nope, k = kv[..., : op.nope_dim], kv.new_empty((op.tokens, op.heads, op.width))

    def launch() -> "Tensor":
        concat_mla_k(k, k_nope, k_rope)
        return k

    return launch
