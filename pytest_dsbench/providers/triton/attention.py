"""Attention over pages, and the cache that it reads."""

from typing import TYPE_CHECKING

from ...operators.paged_attention_decode import PagedAttentionDecode
from ...operators.reshape_and_cache import ReshapeAndCache
from ...provider import Launch, Unsupported
from . import on_tensor_cores, ours

if TYPE_CHECKING:
    from torch import Tensor

#: Of a GPU that is not there, where the kernel is only interpreted or compiled: those of an H100 SXM.
_MULTIPROCESSORS = 132


@ours(PagedAttentionDecode)
def _paged_attention_decode(
    op: PagedAttentionDecode,
    query: "Tensor",
    k_cache: "Tensor",
    v_cache: "Tensor",
    block_tables: "Tensor",
    seq_lens: "Tensor",
) -> Launch:
    import torch

    from ...kernels.attention_parts import keys_per_part
    from ...kernels.paged_attention import fitting, padded, paged_attention

    on_tensor_cores(op.dtype)
    if not fitting(*padded(op.q_heads, op.kv_heads, op.head_dim), query.element_size()):
        shared = f"{op.q_heads // op.kv_heads} query heads of {op.head_dim} columns"
        raise Unsupported(f"{shared} share keys: this kernel keeps them in registers, and they do not fit")
    gpu = torch.cuda.get_device_properties(query.device) if query.is_cuda else None
    keys = keys_per_part(op.kv_lens, op.kv_heads, gpu.multi_processor_count if gpu else _MULTIPROCESSORS)
    longest = max(op.kv_lens)
    return lambda: paged_attention(query, k_cache, v_cache, block_tables, seq_lens, longest, keys)


@ours(ReshapeAndCache, inplace=("key_cache", "value_cache"))
def _reshape_and_cache(
    op: ReshapeAndCache,
    key: "Tensor",
    value: "Tensor",
    key_cache: "Tensor",
    value_cache: "Tensor",
    slot_mapping: "Tensor",
) -> Launch:
    from ...kernels.reshape_and_cache import reshape_and_cache

    return lambda: reshape_and_cache(key, value, key_cache, value_cache, slot_mapping)
