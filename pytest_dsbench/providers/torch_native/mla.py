"""DeepSeek's latent attention: over a paged cache, before it is absorbed, and what prepares its queries and keys."""

from itertools import starmap
from typing import TYPE_CHECKING

from ...operators.concat_mla_k import ConcatMlaK
from ...operators.mla_ragged_prefill import MlaRaggedPrefill
from ...operators.mla_rope_quantize_fp8 import MlaRopeQuantizeFp8
from ...operators.paged_mla_decode import PagedMlaDecode
from ...operators.rope_inplace import RopeInplace
from ...provider import Launch
from . import native
from .attention import latent_attention
from .paged import _after_context, _attend, _gathered, _parts
from .rope import turned

if TYPE_CHECKING:
    from torch import Tensor


@native(PagedMlaDecode)
def _paged_mla_decode(
    op: PagedMlaDecode, query: "Tensor", kv_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
) -> Launch:
    """The queries of a sequence and their heads are so many rows over the same keys."""
    # The lengths are known here, so they are not read back; which pages a sequence has is.
    parts = list(_parts(((op.q_len, length) for length in op.kv_lens), op.page_size, op.width, query))
    masks = {part.keys: _seen(op, part.keys, query) for part in parts}
    attend, pages_of_one_head = latent_attention(query), kv_cache.unsqueeze(2)

    def launch() -> "Tensor":
        out = query.new_empty((op.batch, op.q_len, op.heads, op.kv_lora_rank))
        for part in parts:
            pages = block_tables[part.sequences, : part.pages]
            latent = _gathered(pages_of_one_head, pages, part.keys).squeeze(1)
            rows = query[part.sequences].flatten(1, 2)
            mixed = attend(rows, latent, op.kv_lora_rank, op.scale, masks[part.keys])
            out[part.sequences] = mixed.view(-1, op.q_len, op.heads, op.kv_lora_rank)
        return out

    return launch


def _seen(op: PagedMlaDecode, keys: int, near: "Tensor") -> "Tensor | None":
    """Which of `keys` each row sees, the heads of a query one after the other; None where it is all of them."""
    import torch

    if op.q_len == 1:
        return None
    square = torch.ones((op.q_len, keys), dtype=torch.bool, device=near.device)
    return square.tril(keys - op.q_len).repeat_interleave(op.heads, 0)


@native(MlaRaggedPrefill)
def _mla_ragged_prefill(
    op: MlaRaggedPrefill, query: "Tensor", key: "Tensor", value: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_kv: "Tensor"
) -> Launch:
    import torch

    lengths = set(zip(op.q_lens, op.keys, strict=True))
    masks = {pair: _after_context(*pair, query) for pair in lengths if op.causal and 1 < pair[0] < pair[1]}

    def one(queries: slice, keys: slice) -> "Tensor":
        q, k, v = query[None, queries], key[None, keys].transpose(1, 2), value[None, keys].transpose(1, 2)
        return _attend(q, k, v, op.causal, masks.get((q.shape[1], k.shape[2])))[0]

    def launch() -> "Tensor":
        outs = list(starmap(one, op.parts()))
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    return launch


@native(MlaRopeQuantizeFp8)
def _mla_rope_quantize_fp8(
    op: MlaRopeQuantizeFp8,
    q_rope: "Tensor",
    k_rope: "Tensor",
    q_nope: "Tensor",
    k_nope: "Tensor",
    cos_sin_cache: "Tensor",
    pos_ids: "Tensor",
) -> Launch:
    import torch

    from ...tensors import torch_dtype

    fp8 = torch_dtype("fp8_e4m3")
    largest = torch.finfo(fp8).max

    def codes(nope: "Tensor", rope: "Tensor", cos: "Tensor", sin: "Tensor", scale: float) -> "Tensor":
        joined = torch.cat([nope.float(), turned(rope.float(), cos, sin, op.neox)], -1)
        return joined.mul_(scale).clamp_(-largest, largest).to(fp8)

    def launch() -> tuple["Tensor", "Tensor"]:
        cos, sin = cos_sin_cache.index_select(0, pos_ids)[:, None].chunk(2, -1)
        q = codes(q_nope, q_rope, cos, sin, op.quant_scale_q)
        k = codes(k_nope[:, None], k_rope[:, None], cos, sin, op.quant_scale_kv)
        return q, k[:, 0]

    return launch


@native(RopeInplace, inplace=("query", "key"))
def _rope_inplace(op: RopeInplace, query: "Tensor", key: "Tensor", positions: "Tensor", cos_sin_cache: "Tensor") -> Launch:
    def launch() -> tuple["Tensor", "Tensor"]:
        cos, sin = cos_sin_cache.index_select(0, positions)[:, None].chunk(2, -1)
        for x in (query, key):
            heads = x.view(op.tokens, -1, op.head_dim)
            heads.copy_(turned(heads, cos, sin, op.neox))
        return query, key

    return launch


@native(ConcatMlaK)
def _concat_mla_k(op: ConcatMlaK, kv: "Tensor", k_rope: "Tensor") -> Launch:
    import torch

    k_nope, shared = kv[..., : op.nope_dim], k_rope.expand(-1, op.heads, -1)
    return lambda: torch.cat([k_nope, shared], -1)
