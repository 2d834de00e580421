"""Attention of one new token per sequence over a paged cache: every head of the cache is read once, in parts of each sequence.

All query heads that share a head of the cache are the rows of one product, so that the tensor cores do it. A sequence too long
for one program is split into parts, whose results a second kernel puts together.
"""

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

from .attention_parts import JOINED, KEYS, join
from .launch import narrow, tuned
from .products import bound, config, fits, operand

if TYPE_CHECKING:
    from torch import Tensor

#: The least rows that a product takes.
_FEWEST_ROWS = 16
#: From so many rows on, the instructions of Hopper and Blackwell for four warps at a time are used.
_WARP_GROUP_ROWS = 64
_LOG2_E = 1.4426950408889634
#: Of the stages, every second one only fetches the numbers of pages: 3, 5 and 7 hold the keys and values of 1, 2 and 3 blocks.
_TILES = [(64, 4, 5), (64, 4, 3), (64, 4, 7), (64, 2, 3), (32, 2, 5), (32, 4, 5), (32, 8, 3), (128, 4, 3), (128, 8, 5)]
CONFIGS = [config(stages, warps, BLOCK_N=keys) for keys, warps, stages in _TILES]


def fitting(rows: int, columns: int, itemsize: int) -> list[Any]:
    """The configurations in which a result of rows x columns fits; beside it, scores are held."""
    keep = []
    for one in CONFIGS:
        keys = one.kwargs["BLOCK_N"]
        blocks, more = one.num_stages // 2, 0
        if rows >= _WARP_GROUP_ROWS:
            # Their instructions read shared memory alone: the query, and the last block, which is not on its way.
            blocks, more = blocks + 1, rows * columns * itemsize
        if fits(one, blocks * 2 * keys * columns * itemsize + more, rows * (columns + keys)):
            keep.append(one)
    return keep


def useful(_configs: list[Any], args: dict[str, Any], **meta: Any) -> list[Any]:
    """Those of all configurations that fit."""
    return fitting(meta["ROWS"], meta["COLUMNS"], args["query_ptr"].element_size())


@triton.jit
def attended(
    query,
    k_ptr,
    v_ptr,
    table_ptr,
    first,
    length,
    scale,
    total,
    largest,
    weight,
    KV_HEADS: tl.constexpr,  # noqa: N803
    HEAD_DIM: tl.constexpr,  # noqa: N803
    PAGE: tl.constexpr,  # noqa: N803
    PACKED: tl.constexpr,  # noqa: N803
    BLOCK_N: tl.constexpr,  # noqa: N803
    WHOLE: tl.constexpr,  # noqa: N803
):
    """(total, largest, weight) with BLOCK_N more keys from `first` on, all of which exist where WHOLE.

    total [ROWS, COLUMNS] is the sum of values by weights exp2(score - largest), weight [ROWS] the sum of these; COLUMNS is
    HEAD_DIM up to a power of two. PACKED: elements of a key that lie side by side in the packed layout; 0 in the other.
    """
    key = first + tl.arange(0, BLOCK_N)
    column = tl.arange(0, query.shape[1])
    slot = key % PAGE
    if WHOLE:
        page = tl.load(table_ptr + key // PAGE).to(tl.int64)
    else:
        # By whole pages, so that keys side by side are loaded by one access.
        in_page = key // PAGE * PAGE < length
        page = tl.load(table_ptr + key // PAGE, mask=in_page, other=0).to(tl.int64)
    if PACKED > 0:
        start = page * (KV_HEADS * HEAD_DIM * PAGE)
        k_ptr += (start + slot * PACKED)[None, :] + (column // PACKED * (PACKED * PAGE) + column % PACKED)[:, None]
        v_ptr += (start + slot)[:, None] + (column * PAGE)[None, :]
    else:
        start = (page * PAGE + slot) * (KV_HEADS * HEAD_DIM)
        k_ptr += start[None, :] + column[:, None]
        v_ptr += start[:, None] + column[None, :]
    inside = column < HEAD_DIM
    if not WHOLE:
        k = tl.load(k_ptr, mask=inside[:, None] & in_page[None, :], other=0.0)
        v = tl.load(v_ptr, mask=inside[None, :] & in_page[:, None], other=0.0)
        # What was never written may be NaN, and so is 0 * NaN.
        v = tl.where((key < length)[:, None], v, 0.0)
    elif query.shape[1] == HEAD_DIM:
        k = tl.load(k_ptr)
        v = tl.load(v_ptr)
    else:
        k = tl.load(k_ptr, mask=inside[:, None], other=0.0)
        v = tl.load(v_ptr, mask=inside[None, :], other=0.0)
    scores = tl.dot(query, operand(k)) * scale
    if not WHOLE:
        scores = tl.where((key < length)[None, :], scores, float("-inf"))
    larger = tl.maximum(largest, tl.max(scores, axis=1))
    shrink = tl.exp2(largest - larger)
    weights = tl.exp2(scores - larger[:, None])
    total = tl.dot(operand(narrow(weights, v.dtype)), operand(v), total * shrink[:, None])
    return total, larger, weight * shrink + tl.sum(weights, axis=1)


@tuned(CONFIGS, useful, key=("sequences", "parts", "keys", "GROUP", "KV_HEADS", "HEAD_DIM", "PAGE", "PACKED"))
@triton.jit
def attend_part(
    query_ptr,
    k_ptr,
    v_ptr,
    tables_ptr,
    lengths_ptr,
    out_ptr,
    sums_ptr,
    sequences,  # noqa: ARG001
    pages,
    parts,
    keys,
    scale,
    GROUP: tl.constexpr,  # noqa: N803
    ROWS: tl.constexpr,  # noqa: N803
    KV_HEADS: tl.constexpr,  # noqa: N803
    HEAD_DIM: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    PAGE: tl.constexpr,  # noqa: N803
    PACKED: tl.constexpr,  # noqa: N803
    SPLIT: tl.constexpr,  # noqa: N803
    BLOCK_N: tl.constexpr,  # noqa: N803
):
    """The GROUP query heads of one head of the cache over `keys` keys of one sequence, as far as it is that long.

    out [sequences, q_heads, parts, HEAD_DIM]; where SPLIT also sums [sequences, q_heads, parts]: the logarithm to base 2 of the
    sum of the exponentials, by which parts are weighed. tables [sequences, pages].
    """
    sequence, head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths_ptr + sequence)
    first = tl.multiple_of(part * keys, KEYS)
    if first >= length:
        return
    length = tl.minimum(length, first + keys)
    row, column = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    real = (row < GROUP)[:, None] & (column < HEAD_DIM)[None, :]
    head_of_query = (sequence * KV_HEADS + head).to(tl.int64) * GROUP + row
    query = operand(tl.load(query_ptr + head_of_query[:, None] * HEAD_DIM + column[None, :], mask=real, other=0.0))
    tables_ptr += sequence.to(tl.int64) * pages
    head_at = head * HEAD_DIM * (PAGE if PACKED > 0 else 1)
    k_ptr += head_at
    v_ptr += head_at
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    largest = tl.full((ROWS,), float("-inf"), dtype=tl.float32)
    weight = tl.zeros((ROWS,), dtype=tl.float32)
    whole = (length - first) // BLOCK_N
    for block in tl.range(0, bound(whole)):
        total, largest, weight = attended(
            *(query, k_ptr, v_ptr, tables_ptr, first + block * BLOCK_N, length, scale, total, largest, weight),
            *(KV_HEADS, HEAD_DIM, PAGE, PACKED, BLOCK_N),
            WHOLE=True,
        )
    rest = first + whole * BLOCK_N
    if rest < length:
        total, largest, weight = attended(
            *(query, k_ptr, v_ptr, tables_ptr, rest, length, scale, total, largest, weight),
            *(KV_HEADS, HEAD_DIM, PAGE, PACKED, BLOCK_N),
            WHOLE=False,
        )
    at = head_of_query * parts + part
    result = narrow(total / weight[:, None], out_ptr.dtype.element_ty)
    tl.store(out_ptr + at[:, None] * HEAD_DIM + column[None, :], result, mask=real)
    if SPLIT:
        tl.store(sums_ptr + at, largest + tl.log2(weight), mask=row < GROUP)


def padded(q_heads: int, kv_heads: int, head_dim: int) -> tuple[int, int]:
    """Rows and columns of the result of one program, up to powers of two: query heads that share keys, and head_dim."""
    rows, columns = triton.next_power_of_2(q_heads // kv_heads), triton.next_power_of_2(head_dim)
    return max(rows, _FEWEST_ROWS), max(columns, _FEWEST_ROWS)


def paged_attention(
    query: "Tensor", k_cache: "Tensor", v_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor", longest: int, keys: int
) -> "Tensor":
    """softmax(query k^T / sqrt(head_dim)) v over all keys of each sequence, up to `longest`, `keys` of them per program.

    All contiguous: query [sequences, q_heads, head_dim], block_tables int32 [sequences, pages], seq_lens int32 [sequences];
    k_cache, v_cache [pages, page_size, kv_heads, head_dim], or k_cache [pages, kv_heads, head_dim / x, page_size, x] and v_cache
    [pages, kv_heads, head_dim, page_size]. `keys` is a multiple of 128.
    """
    sequences, q_heads, head_dim = query.shape
    packed = k_cache.shape[-1] if k_cache.dim() == 5 else 0
    kv_heads, page_size = (k_cache.shape[1], k_cache.shape[3]) if packed else (k_cache.shape[2], k_cache.shape[1])
    parts = triton.cdiv(longest, keys)
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    partly, sums = out, out
    if parts > 1:
        sums = torch.empty((sequences, q_heads, parts), dtype=torch.float32, device=query.device)
        partly = torch.empty((*sums.shape, head_dim), dtype=torch.float32, device=query.device)
    rows, columns = padded(q_heads, kv_heads, head_dim)
    attend_part[(sequences, kv_heads, parts)](
        *(query, k_cache, v_cache, block_tables, seq_lens, partly, sums),
        *(sequences, block_tables.shape[1], parts, keys, head_dim**-0.5 * _LOG2_E),
        GROUP=q_heads // kv_heads,
        ROWS=rows,
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        COLUMNS=columns,
        PAGE=page_size,
        PACKED=packed,
        SPLIT=parts > 1,
    )
    if parts > 1:
        joined = min(columns, JOINED)
        join[(sequences * q_heads, triton.cdiv(head_dim, joined))](
            *(partly, sums, seq_lens, out, parts, keys),
            Q_HEADS=q_heads,
            HEAD_DIM=head_dim,
            COLUMNS=joined,
            PARTS=triton.next_power_of_2(parts),
            enable_fp_fusion=True,
        )
    return out
