"""rms_norm in one pass over memory: a row stays in registers between the sum of its squares and the product."""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .launch import LONGEST_ROW, PIECES, TILES, fitting, grid, narrow, tuned
from .tiles import whole

if TYPE_CHECKING:
    from torch import Tensor


@tuned(TILES, fitting)
@triton.jit
def whole_rows(x_ptr, weight_ptr, out_ptr, tokens, hidden, eps, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """As many whole rows per program as TILE elements hold, at least one; BLOCK is hidden up to a power of two."""
    _, column, exists, at = whole(tokens, hidden, BLOCK, TILE)
    x = tl.load(x_ptr + at, mask=exists, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=column < hidden, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=1) / hidden + eps)
    tl.store(out_ptr + at, narrow(x * scale[:, None] * weight[None, :], out_ptr.dtype.element_ty), mask=exists)


@tuned(PIECES)
@triton.jit
def long_row(x_ptr, weight_ptr, out_ptr, tokens, hidden: tl.constexpr, eps, BLOCK: tl.constexpr, STAGES: tl.constexpr):  # noqa: ARG001, N803
    """One row per program in pieces of BLOCK: the second pass finds the row in the L2 cache.

    hidden is a constant since the interpreter of Triton 3.6 cannot count up to a tensor.
    """
    start_of_row = tl.program_id(0).to(tl.int64) * hidden
    x_ptr += start_of_row
    out_ptr += start_of_row
    squares = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in tl.range(0, hidden, BLOCK, num_stages=STAGES):
        column = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + column, mask=column < hidden, other=0.0, eviction_policy="evict_last").to(tl.float32)
        squares += x * x
    scale = tl.rsqrt(tl.sum(squares, axis=0) / hidden + eps)
    for start in tl.range(0, hidden, BLOCK, num_stages=STAGES):
        column = start + tl.arange(0, BLOCK)
        exists = column < hidden
        x = tl.load(x_ptr + column, mask=exists, other=0.0, eviction_policy="evict_first").to(tl.float32)
        weight = tl.load(weight_ptr + column, mask=exists, other=0.0).to(tl.float32)
        tl.store(out_ptr + column, narrow(x * scale * weight, out_ptr.dtype.element_ty), mask=exists)


def rms_norm(x: "Tensor", weight: "Tensor", eps: float) -> "Tensor":
    """x / rms(x) * weight for contiguous x [tokens, hidden] and weight [hidden]; long rows are read in pieces."""
    tokens, hidden = x.shape
    out = torch.empty((tokens, hidden), dtype=x.dtype, device=x.device)
    if hidden > LONGEST_ROW:
        long_row[(tokens,)](x, weight, out, tokens, hidden, eps)
        return out
    block = triton.next_power_of_2(hidden)
    whole_rows[grid(tokens, block)](x, weight, out, tokens, hidden, eps, BLOCK=block)
    return out
