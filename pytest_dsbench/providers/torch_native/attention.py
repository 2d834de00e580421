"""Attention without pages."""

from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Protocol

from ...operators.attention_forward import AttentionForward
from ...operators.mla_decode_attention import MlaDecodeAttention
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    from torch import Tensor


@native(AttentionForward)
def _attention_forward(
    op: AttentionForward, q: "Tensor", k: "Tensor", v: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_k: "Tensor"
) -> Launch:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    # Views of [1, heads, length, head_dim], one per sequence; the lengths are known here, so the bounds are not read back.
    sequences = [
        tuple(tensor[None, first:last].transpose(1, 2) for tensor in (q, k, v))
        for first, last in pairwise(op.bounds)
        if last > first
    ]

    def launch() -> "Tensor":
        outs = [scaled_dot_product_attention(query, key, value)[0].transpose(0, 1) for query, key, value in sequences]
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    return launch


@native(MlaDecodeAttention)
def _mla_decode_attention(op: MlaDecodeAttention, q: "Tensor", kv_cache: "Tensor", seq_lens: "Tensor") -> Launch:
    import torch

    # Sequences of equal length that follow each other make a batch [sequences, length, columns]: all of them are views.
    batches, first = [], 0
    for length, run in groupby(range(len(op.kv_lens)), op.kv_lens.__getitem__):
        some = list(run)
        latent = kv_cache[first : first + length * len(some)].view(len(some), length, op.width)
        batches.append((q[some[0] : some[-1] + 1], latent))
        first += length * len(some)
    attend, scale = latent_attention(q), op.width**-0.5

    def launch() -> "Tensor":
        outs = [attend(query, latent, op.kv_lora_rank, scale) for query, latent in batches]
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    return launch


class _Attend(Protocol):
    def __call__(self, query: "Tensor", latent: "Tensor", rank: int, scale: float, mask: "Tensor | None" = None) -> "Tensor":
        """query [sequences, rows, columns], latent [sequences, length, columns], result [sequences, rows, rank].

        Rows are heads, or tokens and their heads; mask [rows, length] says which keys a row sees.
        """


def latent_attention(q: "Tensor") -> _Attend:
    """The faster way to attend to a latent cache on the device of q."""
    return _in_two_products if q.is_cuda and _wide_scores(q) else _fused


def _wide_scores(q: "Tensor") -> bool:
    """Whether this torch multiplies 16-bit tensors of q's dtype into fp32: scores of 16 bits are too coarse."""
    import torch

    return q.dtype.itemsize == 2 and hasattr(torch.ops.aten.bmm, "dtype")


def _in_two_products(query: "Tensor", latent: "Tensor", rank: int, scale: float, mask: "Tensor | None" = None) -> "Tensor":
    """On CUDA no flash kernel has heads this wide, and the one that does splits neither heads nor lengths."""
    import torch

    scores = torch.bmm(query, latent.transpose(1, 2), out_dtype=torch.float32)
    if mask is not None:
        scores.masked_fill_(mask.logical_not(), float("-inf"))
    shares = scores.mul_(scale).softmax(-1)
    return torch.bmm(shares.to(query.dtype), latent[..., :rank])


def _fused(query: "Tensor", latent: "Tensor", rank: int, scale: float, mask: "Tensor | None" = None) -> "Tensor":
    """The same, with rows as so many queries of one head; the columns past `rank` are dropped, since keys and values must be
    equally wide for the fused kernel of a CPU."""
    from torch.nn.functional import scaled_dot_product_attention

    keys = latent[:, None]
    return scaled_dot_product_attention(query[:, None], keys, keys, attn_mask=mask, scale=scale)[:, 0, :, :rank]
