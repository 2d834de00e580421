"""moe_sum_reduce: the outputs of a token's experts are added up in registers, and their sum written once."""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .launch import TILES, fitting, grid, narrow, tuned
from .tiles import columns, piece

if TYPE_CHECKING:
    from torch import Tensor

#: So many experts of a token are on their way at a time.
_UNROLLED = tl.constexpr(8)


@tuned(TILES, fitting, key=("tokens", "hidden", "top_k"))
@triton.jit
def summed(x_ptr, out_ptr, tokens, hidden, factor, top_k: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """A tile of TILE elements of the output, BLOCK of them in a row."""
    row, column, exists = piece(tokens, hidden, BLOCK, TILE)
    x_ptr += (row * (top_k * hidden))[:, None] + column[None, :]
    total = tl.zeros(exists.shape, dtype=tl.float32)
    for expert in tl.range(0, top_k, loop_unroll_factor=_UNROLLED):
        total += tl.load(x_ptr + expert * hidden, mask=exists, other=0.0).to(tl.float32)
    tl.store(out_ptr + (row * hidden)[:, None] + column[None, :], narrow(total * factor, out_ptr.dtype.element_ty), mask=exists)


def moe_sum_reduce(x: "Tensor", factor: float) -> "Tensor":
    """factor * x.sum(1) for contiguous x [tokens, top_k, hidden]."""
    tokens, top_k, hidden = x.shape
    out = torch.empty((tokens, hidden), dtype=x.dtype, device=x.device)
    block = columns(hidden)
    summed[grid(tokens, block, triton.cdiv(hidden, block))](x, out, tokens, hidden, factor, top_k=top_k, BLOCK=block)
    return out
