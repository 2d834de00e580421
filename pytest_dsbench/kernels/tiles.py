"""Which elements of a [tokens, hidden] tensor a program takes: whole rows, or a piece of each of some rows."""

import triton
import triton.language as tl

#: Columns of a piece: wide enough for 16-byte accesses by a whole warp, narrow enough that few lanes are past the end.
_NARROWEST, _WIDEST = 128, 1024


@triton.jit
def rows(tokens, BLOCK: tl.constexpr, TILE: tl.constexpr, program):  # noqa: N803
    """The rows of the program-th tile: as many as TILE elements hold in blocks of BLOCK columns, at least one."""
    ROWS: tl.constexpr = max(TILE // BLOCK, 1)  # noqa: N806
    # In 64 bits, since what is computed from them are offsets, and tensors have more than 2**31 elements.
    row = program.to(tl.int64) * ROWS + tl.arange(0, ROWS)
    return row, row < tokens


@triton.jit
def whole(tokens, hidden, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """(row, column, exists, at) of a program that takes whole rows; BLOCK is hidden up to a power of two.

    row [ROWS], column [BLOCK]; exists and at, whether an element does and where in a contiguous tensor, [ROWS, BLOCK].
    """
    row, real = rows(tokens, BLOCK, TILE, tl.program_id(0))
    column = tl.arange(0, BLOCK)
    return row, column, real[:, None] & (column < hidden)[None, :], (row * hidden)[:, None] + column[None, :]


@triton.jit
def piece(tokens, hidden, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """(row, column, exists) of a program that takes BLOCK columns of some rows; neighbouring programs take neighbouring ones."""
    across = tl.cdiv(hidden, BLOCK)
    row, real = rows(tokens, BLOCK, TILE, tl.program_id(0) // across)
    column = tl.program_id(0) % across * BLOCK + tl.arange(0, BLOCK)
    return row, column, real[:, None] & (column < hidden)[None, :]


def columns(hidden: int) -> int:
    """Columns of a piece: the largest power of two that divides `hidden`, so that no lane idles, within what is efficient."""
    divisor = min(hidden & -hidden, _WIDEST)
    if divisor >= _NARROWEST:
        return divisor
    return min(triton.next_power_of_2(hidden), _WIDEST)  # type: ignore[no-any-return]
