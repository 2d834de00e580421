"""silu_and_mul: the gate and up halves of a row are read once and their product written once."""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .launch import TILES, fitting, grid, narrow, tuned

if TYPE_CHECKING:
    from torch import Tensor

#: Columns per program: wide enough for 16-byte accesses by a whole warp, narrow enough that few lanes are past the end.
_NARROWEST, _WIDEST = 128, 1024


@tuned(TILES, fitting)
@triton.jit
def gated(x_ptr, out_ptr, tokens, hidden, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """A tile of TILE elements of the output, BLOCK of them in a row; neighbouring programs take neighbouring columns."""
    ROWS: tl.constexpr = max(TILE // BLOCK, 1)  # noqa: N806
    across = tl.cdiv(hidden, BLOCK)
    row = (tl.program_id(0) // across).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) % across * BLOCK + tl.arange(0, BLOCK)
    inside = (row < tokens)[:, None] & (column < hidden)[None, :]
    start_of_row = (row * hidden)[:, None]
    x_ptr += 2 * start_of_row + column[None, :]
    gate = tl.load(x_ptr, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(x_ptr + hidden, mask=inside, other=0.0).to(tl.float32)
    # exp of a negative number only: exp(-gate) would overflow for a gate below -88.
    decay = tl.exp(-tl.abs(gate))
    silu = gate * tl.where(gate < 0, decay, 1.0) / (1.0 + decay)
    # The operator rounds silu before the product.
    dtype = out_ptr.dtype.element_ty
    product = narrow(silu, dtype).to(tl.float32) * up
    tl.store(out_ptr + start_of_row + column[None, :], narrow(product, dtype), mask=inside)


def columns(hidden: int) -> int:
    """Columns per program: the largest power of two that divides `hidden`, so that no lane idles, within what is efficient."""
    divisor = min(hidden & -hidden, _WIDEST)
    if divisor >= _NARROWEST:
        return divisor
    return min(triton.next_power_of_2(hidden), _WIDEST)  # type: ignore[no-any-return]


def silu_and_mul(x: "Tensor") -> "Tensor":
    """silu(x[:, :hidden]) * x[:, hidden:] for contiguous x [tokens, 2 * hidden]."""
    tokens, hidden = x.shape[0], x.shape[1] // 2
    out = torch.empty((tokens, hidden), dtype=x.dtype, device=x.device)
    block = columns(hidden)
    gated[grid(tokens, block, triton.cdiv(hidden, block))](x, out, tokens, hidden, BLOCK=block)
    return out
