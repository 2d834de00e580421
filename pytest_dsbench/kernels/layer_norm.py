"""layer_norm in one pass over memory: a row stays in registers while its mean and then its variance are taken."""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .launch import TILES, fitting, grid, narrow, tuned
from .tiles import whole

if TYPE_CHECKING:
    from torch import Tensor


@tuned(TILES, fitting)
@triton.jit
def whole_rows(x_ptr, weight_ptr, bias_ptr, out_ptr, tokens, hidden, eps, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """As many whole rows per program as TILE elements hold, at least one; BLOCK is hidden up to a power of two."""
    _, column, exists, at = whole(tokens, hidden, BLOCK, TILE)
    x = tl.load(x_ptr + at, mask=exists, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=column < hidden, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + column, mask=column < hidden, other=0.0).to(tl.float32)
    # Deviations from the mean, not the mean of the squares less the square of the mean, which cancel.
    centred = tl.where(exists, x - (tl.sum(x, axis=1) / hidden)[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, axis=1) / hidden + eps)
    out = centred * scale[:, None] * weight[None, :] + bias[None, :]
    tl.store(out_ptr + at, narrow(out, out_ptr.dtype.element_ty), mask=exists)


def layer_norm(x: "Tensor", weight: "Tensor", bias: "Tensor", eps: float) -> "Tensor":
    """(x - mean(x)) / std(x) * weight + bias for contiguous x [tokens, hidden], weight and bias [hidden]."""
    tokens, hidden = x.shape
    out = torch.empty((tokens, hidden), dtype=x.dtype, device=x.device)
    block = triton.next_power_of_2(hidden)
    whole_rows[grid(tokens, block)](x, weight, bias, out, tokens, hidden, eps, BLOCK=block)
    return out
