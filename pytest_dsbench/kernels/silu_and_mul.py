"""silu_and_mul: the gate and up halves of a row are read once and their product written once."""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .launch import TILES, fitting, grid, narrow, tuned
from .tiles import columns, piece

if TYPE_CHECKING:
    from torch import Tensor


@triton.jit
def silu(x):
    """x / (1 + exp(-x)) by the exp of a negative number only: exp(-x) would overflow for an x below -88."""
    decay = tl.exp(-tl.abs(x))
    return x * tl.where(x < 0, decay, 1.0) / (1.0 + decay)


@tuned(TILES, fitting)
@triton.jit
def gated(x_ptr, out_ptr, tokens, hidden, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """A tile of TILE elements of the output, BLOCK of them in a row."""
    row, column, exists = piece(tokens, hidden, BLOCK, TILE)
    start_of_row = (row * hidden)[:, None]
    x_ptr += 2 * start_of_row + column[None, :]
    gate = tl.load(x_ptr, mask=exists, other=0.0).to(tl.float32)
    up = tl.load(x_ptr + hidden, mask=exists, other=0.0).to(tl.float32)
    # The operator rounds silu before the product.
    dtype = out_ptr.dtype.element_ty
    product = narrow(silu(gate), dtype).to(tl.float32) * up
    tl.store(out_ptr + start_of_row + column[None, :], narrow(product, dtype), mask=exists)


def silu_and_mul(x: "Tensor") -> "Tensor":
    """silu(x[:, :hidden]) * x[:, hidden:] for contiguous x [tokens, 2 * hidden]."""
    tokens, hidden = x.shape[0], x.shape[1] // 2
    out = torch.empty((tokens, hidden), dtype=x.dtype, device=x.device)
    block = columns(hidden)
    gated[grid(tokens, block, triton.cdiv(hidden, block))](x, out, tokens, hidden, BLOCK=block)
    return out
