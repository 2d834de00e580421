"""Rotary embeddings."""

from typing import TYPE_CHECKING

from ...operators.fused_qkv_rope import FusedQkvRope
from ...operators.mrope import Mrope
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    from torch import Tensor


def turned(x: "Tensor", cos: "Tensor", sin: "Tensor", neox: bool = True) -> "Tensor":
    """x [tokens, heads, head_dim], half-split or in pairs, by the angles of each token: cos, sin fp32 [tokens, 1, pairs]."""
    import torch

    pairs = cos.shape[-1]
    # A 16-bit value times an fp32 one is an fp32 product.
    low, high = (x[..., :pairs], x[..., pairs : 2 * pairs]) if neox else (x[..., 0 : 2 * pairs : 2], x[..., 1 : 2 * pairs : 2])
    halves = [(low * cos - high * sin).to(x.dtype), (high * cos + low * sin).to(x.dtype)]
    if not neox:
        halves = [torch.stack(halves, -1).flatten(-2)]
    return torch.cat([*halves, x[..., 2 * pairs :]] if x.shape[-1] > 2 * pairs else halves, -1)


@native(FusedQkvRope)
def _fused_qkv_rope(op: FusedQkvRope, qkv: "Tensor", positions: "Tensor", qkv_bias: "Tensor | None" = None) -> Launch:
    import torch

    steps = torch.arange(0, op.rope_dim, 2, dtype=torch.float32, device=qkv.device) / op.rope_dim
    frequencies = op.base**-steps

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        total = qkv if qkv_bias is None else qkv + qkv_bias
        heads = total.view(op.tokens, -1, op.head_dim)
        q, k, v = torch.split(heads, [op.q_heads, op.kv_heads, op.kv_heads], 1)
        angles = positions[:, None, None] * frequencies
        cos, sin = angles.cos(), angles.sin()
        return turned(q, cos, sin), turned(k, cos, sin), v.clone(memory_format=torch.contiguous_format)

    return launch


@native(Mrope)
def _mrope(op: Mrope, q: "Tensor", k: "Tensor", cos: "Tensor", sin: "Tensor") -> Launch:
    def launch() -> tuple["Tensor", "Tensor"]:
        c, s = op.of_each_pair(cos)[:, None], op.of_each_pair(sin)[:, None]
        q_heads, k_heads = (x.view(op.tokens, -1, op.head_dim) for x in (q, k))
        return turned(q_heads, c, s).view(q.shape), turned(k_heads, c, s).view(k.shape)

    return launch
