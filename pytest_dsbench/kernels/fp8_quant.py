"""fp8 quantisation with one scale per token: a row stays in registers between its largest value and the division."""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .launch import LONGEST_ROW, PIECES, TILES, fitting, grid, narrow, tuned
from .tiles import whole

if TYPE_CHECKING:
    from torch import Tensor

#: The largest e4m3fn value.
LARGEST = tl.constexpr(448.0)


@triton.jit
def encode(x, inverse, dtype: tl.constexpr):
    """x * inverse as fp8, clamped: not every conversion saturates."""
    return narrow(tl.clamp(x * inverse, -LARGEST, LARGEST), dtype)


@tuned(TILES, fitting)
@triton.jit
def whole_rows(x_ptr, q_ptr, scale_ptr, tokens, hidden, least, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """As many whole rows per program as TILE elements hold, at least one; BLOCK is hidden up to a power of two."""
    row, _, exists, at = whole(tokens, hidden, BLOCK, TILE)
    x = tl.load(x_ptr + at, mask=exists, other=0.0).to(tl.float32)
    # IEEE division: / may be 2 ulp off, which moves codes.
    scale = tl.div_rn(tl.maximum(tl.max(tl.abs(x), axis=1), least), LARGEST)
    tl.store(scale_ptr + row, scale, mask=row < tokens)
    inverse = tl.div_rn(1.0, scale)
    tl.store(q_ptr + at, encode(x, inverse[:, None], q_ptr.dtype.element_ty), mask=exists)


@tuned(PIECES)
@triton.jit
def long_row(x_ptr, q_ptr, scale_ptr, tokens, hidden: tl.constexpr, least, BLOCK: tl.constexpr, STAGES: tl.constexpr):  # noqa: ARG001, N803
    """One row per program in pieces of BLOCK: the second pass finds the row in the L2 cache.

    hidden is a constant since the interpreter of Triton 3.6 cannot count up to a tensor.
    """
    start_of_row = tl.program_id(0).to(tl.int64) * hidden
    x_ptr += start_of_row
    q_ptr += start_of_row
    largest = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in tl.range(0, hidden, BLOCK, num_stages=STAGES):
        column = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + column, mask=column < hidden, other=0.0, eviction_policy="evict_last").to(tl.float32)
        largest = tl.maximum(largest, tl.abs(x))
    scale = tl.div_rn(tl.maximum(tl.max(largest, axis=0), least), LARGEST)
    tl.store(scale_ptr + tl.program_id(0), scale)
    inverse = tl.div_rn(1.0, scale)
    for start in tl.range(0, hidden, BLOCK, num_stages=STAGES):
        column = start + tl.arange(0, BLOCK)
        exists = column < hidden
        x = tl.load(x_ptr + column, mask=exists, other=0.0, eviction_policy="evict_first").to(tl.float32)
        tl.store(q_ptr + column, encode(x, inverse, q_ptr.dtype.element_ty), mask=exists)


def fp8_quant(x: "Tensor", least: float = 1e-12) -> "tuple[Tensor, Tensor]":
    """(q, scale) of contiguous x [tokens, hidden]: q e4m3fn, as x; scale fp32 [tokens]. Long rows are read in pieces.

    A row whose largest magnitude is below `least` gets the scale of `least`: that of a row of zeros is not zero.
    """
    tokens, hidden = x.shape
    q = torch.empty((tokens, hidden), dtype=torch.float8_e4m3fn, device=x.device)
    scale = torch.empty((tokens,), dtype=torch.float32, device=x.device)
    if hidden > LONGEST_ROW:
        long_row[(tokens,)](x, q, scale, tokens, hidden, least)
        return q, scale
    block = triton.next_power_of_2(hidden)
    whole_rows[grid(tokens, block)](x, q, scale, tokens, hidden, least, BLOCK=block)
    return q, scale
