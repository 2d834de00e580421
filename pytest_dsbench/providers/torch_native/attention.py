"""Attention."""

from itertools import pairwise
from typing import TYPE_CHECKING

from ...operator import Launch
from ...operators.attention_forward import AttentionForward
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
    sequences = [tuple(tensor[None, first:last].transpose(1, 2) for tensor in (q, k, v)) for first, last in pairwise(op.bounds)]

    def launch() -> "Tensor":
        outs = [scaled_dot_product_attention(query, key, value)[0].transpose(0, 1) for query, key, value in sequences]
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    return launch
