"""l2_norm in one pass over memory."""

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
def whole_rows(x_ptr, out_ptr, tokens, hidden, eps, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """As many whole rows per program as TILE elements hold, at least one; BLOCK is hidden up to a power of two."""
    _, _, exists, at = whole(tokens, hidden, BLOCK, TILE)
    x = tl.load(x_ptr + at, mask=exists, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=1) + eps)
    tl.store(out_ptr + at, narrow(x * scale[:, None], out_ptr.dtype.element_ty), mask=exists)


def l2_norm(x: "Tensor", eps: float) -> "Tensor":
    """x / sqrt(sum(x^2) + eps) for contiguous x [tokens, hidden]."""
    tokens, hidden = x.shape
    out = torch.empty((tokens, hidden), dtype=x.dtype, device=x.device)
    block = triton.next_power_of_2(hidden)
    whole_rows[grid(tokens, block)](x, out, tokens, hidden, eps, BLOCK=block)
    return out
