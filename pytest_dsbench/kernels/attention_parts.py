"""How long sequences are split into parts for programs of their own, and how the results of these are put together."""

from collections.abc import Sequence

import triton
import triton.language as tl

from .launch import narrow

#: A part of a sequence is a multiple of this many keys, which is the most that a program looks at at a time.
KEYS = tl.constexpr(128)
#: A shorter part is not worth its share of the second kernel.
_SHORTEST_PART = 256
_MOST_PARTS = 128
#: Programs per multiprocessor: some wait for memory while others compute.
_PROGRAMS = 4
#: Columns that a program of the second kernel puts together: with the most parts, 128 values per thread.
JOINED = 128


@triton.jit
def join(
    parts_ptr,
    sums_ptr,
    lengths_ptr,
    out_ptr,
    parts,
    keys,
    Q_HEADS: tl.constexpr,  # noqa: N803
    HEAD_DIM: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    PARTS: tl.constexpr,  # noqa: N803
):
    """COLUMNS of out [sequences, q_heads, HEAD_DIM] from the parts of a sequence; PARTS is their number up to a power of two."""
    sequence_and_head = tl.program_id(0)
    used = tl.cdiv(tl.load(lengths_ptr + sequence_and_head // Q_HEADS), keys)
    part, column = tl.arange(0, PARTS), tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    at = sequence_and_head.to(tl.int64) * parts + part
    logarithm = tl.load(sums_ptr + at, mask=part < used, other=float("-inf"))
    share = tl.exp2(logarithm - tl.max(logarithm, axis=0))
    real = (part < used)[:, None] & (column < HEAD_DIM)[None, :]
    some = tl.load(parts_ptr + at[:, None] * HEAD_DIM + column[None, :], mask=real, other=0.0)
    result = tl.sum(some * share[:, None], axis=0) / tl.sum(share, axis=0)
    at_out = sequence_and_head.to(tl.int64) * HEAD_DIM + column
    tl.store(out_ptr + at_out, narrow(result, out_ptr.dtype.element_ty), mask=column < HEAD_DIM)


def keys_per_part(lengths: Sequence[int], kv_heads: int, multiprocessors: int) -> int:
    """Keys that one program takes: so many that all programs together fill the GPU, however the lengths differ."""
    even = triton.cdiv(sum(lengths) * kv_heads, multiprocessors * _PROGRAMS)
    keys = max(even, _SHORTEST_PART, triton.cdiv(max(lengths), _MOST_PARTS))
    return triton.cdiv(keys, KEYS.value) * KEYS.value  # type: ignore[no-any-return]
