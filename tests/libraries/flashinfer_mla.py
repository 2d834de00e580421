"""flashinfer: TensorRT-LLM's latent attention, and what prepares its queries and keys."""

import torch
from torch import Tensor

from . import numerics
from .flashinfer import HERE

#: Bytes that its workspaces have, of which the first must be zero when they are used first.
_WORKSPACE, _COUNTERS = 128 * 2**20, 8 * 2**20


def _check(workspace: Tensor) -> None:
    assert workspace.dtype == torch.uint8 and workspace.numel() >= _WORKSPACE and not workspace[:_COUNTERS].any()


@HERE.function("flashinfer.mla", "flashinfer/mla/_core.py")
def trtllm_batch_decode_with_kv_cache_mla(
    query: Tensor,
    kv_cache: Tensor,
    workspace_buffer: Tensor,
    qk_nope_head_dim: int,
    kv_lora_rank: int,
    qk_rope_head_dim: int,
    block_tables: Tensor,
    seq_lens: Tensor | None,
    max_seq_len: int,
    *,
    out: Tensor | None = None,
    bmm1_scale: float | Tensor = 1.0,
    bmm2_scale: float | Tensor = 1.0,
    enable_pdl: bool | None = None,
) -> Tensor:
    """query [sequences, queries, heads, 576], the last tokens of their sequence."""
    _check(workspace_buffer)
    assert (qk_nope_head_dim, kv_lora_rank, qk_rope_head_dim) == (128, 512, 64) and bmm2_scale == 1.0
    assert kv_cache.shape[1] in (32, 64) and block_tables.shape[1] % (128 / kv_cache.shape[1]) == 0
    assert out is not None and out.dtype == torch.bfloat16 and enable_pdl is not None and seq_lens is not None
    assert block_tables.dtype == seq_lens.dtype == torch.int32 and int(seq_lens.max()) == max_seq_len
    for number, length in enumerate(seq_lens.tolist()):
        keys = numerics.paged(kv_cache, block_tables[number], length)[:, None]
        scale = float(bmm1_scale)
        out[number] = numerics.attention(query[number], keys, keys[..., :512], causal=True, scale=scale)
    return out


@HERE.function("flashinfer.prefill", "flashinfer/prefill.py")
def trtllm_ragged_attention_deepseek(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    workspace_buffer: Tensor,
    seq_lens: Tensor,
    max_q_len: int,
    max_kv_len: int,
    bmm1_scale: float | Tensor,
    bmm2_scale: float | Tensor,
    o_sf_scale: float,
    batch_size: int,
    window_left: int,
    cum_seq_lens_q: Tensor,
    cum_seq_lens_kv: Tensor,
    enable_pdl: bool | None,
    is_causal: bool,
    return_lse: bool,
    *,
    out: Tensor | None = None,
) -> Tensor:
    _check(workspace_buffer)
    assert (query.shape[2], key.shape[2], value.shape[2]) == (192, 192, 128) and out is not None
    assert window_left == -1 and not return_lse and bmm2_scale == o_sf_scale == 1.0
    assert cum_seq_lens_q.dtype == cum_seq_lens_kv.dtype == seq_lens.dtype == torch.int32
    queries, keys = cum_seq_lens_q.diff().tolist(), cum_seq_lens_kv.diff().tolist()
    assert keys == seq_lens.tolist() and (max(queries), max(keys), len(keys)) == (max_q_len, max_kv_len, batch_size)
    pieces = zip(query.split(queries), key.split(keys), value.split(keys), strict=True)
    return out.copy_(torch.cat([numerics.attention(*piece, causal=is_causal, scale=float(bmm1_scale)) for piece in pieces]))


@HERE.function("flashinfer.rope", "flashinfer/rope.py")
def mla_rope_quantize_fp8(
    q_rope: Tensor,
    k_rope: Tensor,
    q_nope: Tensor,
    k_nope: Tensor,
    cos_sin_cache: Tensor,
    pos_ids: Tensor,
    is_neox: bool = True,
    quantize_dtype: torch.dtype | None = None,
    quant_scale_q: float = 1.0,
    quant_scale_kv: float = 1.0,
    q_rope_out: Tensor | None = None,
    k_rope_out: Tensor | None = None,
    q_nope_out: Tensor | None = None,
    k_nope_out: Tensor | None = None,
    enable_pdl: bool = False,
) -> tuple[Tensor, ...]:
    """Returns queries and keys, of each the rotated part first."""
    assert cos_sin_cache.dtype == torch.float32 and pos_ids.dtype in (torch.int32, torch.int64) and k_rope.dim() == 2
    assert q_rope_out is not None and k_rope_out is not None and q_nope_out is not None and k_nope_out is not None
    rows = cos_sin_cache[pos_ids.long()]
    _store(q_rope_out, numerics.turned(q_rope, rows, is_neox) * quant_scale_q)
    _store(k_rope_out, numerics.turned(k_rope[:, None], rows, is_neox)[:, 0] * quant_scale_kv)
    _store(q_nope_out, q_nope.float() * quant_scale_q)
    _store(k_nope_out, k_nope.float() * quant_scale_kv)
    return q_rope_out, k_rope_out, q_nope_out, k_nope_out


def _store(out: Tensor, values: Tensor) -> None:
    """What is too large becomes the largest code."""
    assert out.dtype == torch.float8_e4m3fn and out.stride(-1) == 1
    out.copy_(values.clamp(-448, 448).to(out.dtype))


@HERE.function("flashinfer.rope", "flashinfer/rope.py")
def apply_rope_with_cos_sin_cache_inplace(
    positions: Tensor, query: Tensor, key: Tensor, head_size: int, cos_sin_cache: Tensor, is_neox: bool = True
) -> None:
    assert cos_sin_cache.dtype == torch.float32 and head_size in (64, 128, 256, 512)
    for x in (query, key):
        heads = x.view(len(x), -1, head_size)
        heads.copy_(numerics.turned(heads, cos_sin_cache[positions.long()], is_neox))


@HERE.function("flashinfer.concat_ops", "flashinfer/concat_ops.py")
def concat_mla_k(k: Tensor, k_nope: Tensor, k_rope: Tensor) -> None:
    assert k.dtype == k_nope.dtype == k_rope.dtype and k.stride(-1) == k_nope.stride(-1) == k_rope.stride(-1) == 1
    assert k.shape[1:] == (128, 192) and k_nope.shape[1:] == (128, 128) and k_rope.shape[1:] == (1, 64)
    k[..., :128].copy_(k_nope)
    k[..., 128:].copy_(k_rope)
