"""Pairs of a token and its expert in order of the expert, every expert's run padded to whole blocks; nothing is read by the host.

Ranks come from prefix sums instead of atomics, so that the order is always the same: that of the tokens.
"""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from .products import bound

if TYPE_CHECKING:
    from torch import Tensor

#: Pairs that a program looks at at a time: no less than the threads of a program.
_PIECE = 4096
_WARPS = 8
#: A histogram has at least as many bins as a warp has threads.
_FEWEST_BINS = 32
#: Their counts and those of all parts stay in registers; in shared memory there is place for more.
MOST_EXPERTS = 1023
#: Parts into which many pairs are split; each is counted, then placed, by programs of its own.
_MOST_PARTS = 32
#: Blocks whose expert is written at a time.
_EXPERTS_AT_A_TIME = tl.constexpr(64)


@triton.jit
def counted(ids_ptr, first, pairs, EXPERTS: tl.constexpr, BINS: tl.constexpr, PIECE: tl.constexpr, PIECES: tl.constexpr):  # noqa: N803
    """Pairs of each expert, [BINS], among PIECES * PIECE pairs from `first` on; in the bin EXPERTS, those past the last pair."""
    total = tl.zeros((BINS,), dtype=tl.int32)
    for piece in tl.range(0, PIECES):
        pair = first + piece * PIECE + tl.arange(0, PIECE)
        total += tl.histogram(tl.load(ids_ptr + pair, mask=pair < pairs, other=EXPERTS), BINS)
    return total


@triton.jit
def count(
    ids_ptr,
    counts_ptr,
    pairs,
    EXPERTS: tl.constexpr,  # noqa: N803
    BINS: tl.constexpr,  # noqa: N803
    PIECE: tl.constexpr,  # noqa: N803
    PIECES: tl.constexpr,  # noqa: N803
):
    """Pairs of each expert in one part, into counts int32 [parts, BINS]."""
    part = tl.program_id(0)
    total = counted(ids_ptr, part * PIECES * PIECE, pairs, EXPERTS, BINS, PIECE, PIECES)
    tl.store(counts_ptr + part * BINS + tl.arange(0, BINS), total)


@triton.jit
def place(
    ids_ptr,
    counts_ptr,
    sorted_ptr,
    experts_ptr,
    padded_ptr,
    pairs,
    parts,
    EXPERTS: tl.constexpr,  # noqa: N803
    BINS: tl.constexpr,  # noqa: N803
    BLOCK_M: tl.constexpr,  # noqa: N803
    PIECE: tl.constexpr,  # noqa: N803
    PIECES: tl.constexpr,  # noqa: N803
    PARTS: tl.constexpr,  # noqa: N803
):
    """Writes the pairs of one expert in one part to their places; the first part also writes what belongs to the whole expert.

    PARTS is the number of parts up to a power of two. With a single part nothing was counted before.
    """
    expert, part = tl.program_id(0), tl.program_id(1)
    bins = tl.arange(0, BINS)
    if PARTS == 1:
        total = counted(ids_ptr, 0, pairs, EXPERTS, BINS, PIECE, PIECES)
        before = 0
    else:
        row = tl.arange(0, PARTS)[:, None]
        counts = tl.load(counts_ptr + row * BINS + bins[None, :], mask=row < parts, other=0)
        total = tl.sum(counts, axis=0)
        before = tl.sum(tl.sum(tl.where((row < part) & (bins == expert)[None, :], counts, 0), axis=0), axis=0)
    blocks = tl.where(bins < EXPERTS, tl.cdiv(total, BLOCK_M), 0)
    first_block = tl.sum(tl.where(bins < expert, blocks, 0), axis=0)
    if part == 0:
        own = tl.sum(tl.where(bins == expert, total, 0), axis=0)
        own_blocks = tl.cdiv(own, BLOCK_M)
        pad = own + tl.arange(0, BLOCK_M)
        tl.store(sorted_ptr + first_block * BLOCK_M + pad, pairs, mask=pad < own_blocks * BLOCK_M)
        for some in tl.range(0, bound(own_blocks), _EXPERTS_AT_A_TIME):
            block = some + tl.arange(0, _EXPERTS_AT_A_TIME)
            tl.store(experts_ptr + first_block + block, expert, mask=block < own_blocks)
        if expert == 0:
            tl.store(padded_ptr, tl.sum(blocks, axis=0) * BLOCK_M)
    start = first_block * BLOCK_M + before
    for piece in tl.range(0, PIECES):
        pair = (part * PIECES + piece) * PIECE + tl.arange(0, PIECE)
        mine = tl.load(ids_ptr + pair, mask=pair < pairs, other=EXPERTS) == expert
        rank = tl.cumsum(mine.to(tl.int32), axis=0)
        tl.store(sorted_ptr + start + rank - 1, pair, mask=mine)
        start += tl.sum(mine.to(tl.int32), axis=0)


def most_blocks(pairs: int, experts: int, block: int) -> int:
    """Blocks that `pairs` fill at most, whichever experts they go to."""
    # Every expert that has a pair starts a block; all others fill up blocks.
    started = min(pairs, experts)
    return started + (pairs - started) // block


def align(topk_ids: "Tensor", experts: int, block: int, piece: int = _PIECE) -> "tuple[Tensor, Tensor, Tensor]":
    """(pairs, block_experts, padded) of contiguous topk_ids int32 [tokens, top_k], all int32.

    pairs [most_blocks * block]: token * top_k + place, or tokens * top_k where there is none; block_experts [most_blocks]; padded
    [1], the pairs that are written. What is past them is not.
    """
    count_of_pairs = topk_ids.numel()
    blocks = most_blocks(count_of_pairs, experts, block)
    pairs, block_experts, padded = (topk_ids.new_empty((size,)) for size in (blocks * block, blocks, 1))
    # One bin more than experts, for what is past the last pair.
    bins = max(triton.next_power_of_2(experts + 1), _FEWEST_BINS)
    piece = min(piece, max(triton.next_power_of_2(count_of_pairs), 32 * _WARPS))
    parts = min(triton.cdiv(count_of_pairs, piece), _MOST_PARTS)
    sizes = {"EXPERTS": experts, "BINS": bins, "PIECE": piece, "PIECES": triton.cdiv(count_of_pairs, parts * piece)}
    options = {"num_warps": _WARPS, "enable_fp_fusion": True}
    counts = padded
    if parts > 1:
        counts = topk_ids.new_empty((parts, bins))
        count[(parts,)](topk_ids, counts, count_of_pairs, **sizes, **options)
    padded_parts = triton.next_power_of_2(parts)
    place[(experts, parts)](
        *(topk_ids, counts, pairs, block_experts, padded, count_of_pairs, parts),
        **sizes,
        **options,
        BLOCK_M=block,
        PARTS=padded_parts,
    )
    return pairs, block_experts, padded
