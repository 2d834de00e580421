"""fused_moe: tokens in order of their experts, two products by the weights of their experts, and the sum over a token's experts.

The first product forms gate and up of the same columns side by side, so that only their activated product is written.
"""

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

from .launch import narrow, tuned
from .moe_align import align
from .moe_sum_reduce import moe_sum_reduce
from .products import config, fits, operand, swizzled
from .silu_and_mul import silu

if TYPE_CHECKING:
    from torch import Tensor

#: Rows per block: the least that a product takes, up to what keeps the tensor cores busy.
_FEWEST_ROWS, _MOST_ROWS = 16, 128
_TILES = [
    *((64, 64, 4, 4), (32, 128, 4, 4), (64, 128, 4, 3), (64, 128, 8, 3), (128, 64, 4, 4), (128, 64, 8, 3), (128, 64, 8, 4)),
    *((128, 128, 4, 3), (256, 64, 8, 3), (256, 64, 8, 4)),
]
CONFIGS = [
    config(stages, warps, BLOCK_N=columns, BLOCK_K=depth, GROUP_M=8)  #
    for columns, depth, warps, stages in _TILES
]


def useful(configs: list[Any], args: dict[str, Any], **meta: Any) -> list[Any]:
    """The configurations that fit; a gated product holds two tiles."""
    rows, tiles = meta["BLOCK_M"], 2 if meta["GATED"] else 1
    keep = []
    for one in configs:
        columns = tiles * one.kwargs["BLOCK_N"]
        shared = one.num_stages * (rows + columns) * one.kwargs["BLOCK_K"] * args["x_ptr"].element_size()
        if fits(one, shared, rows * columns):
            keep.append(one)
    return keep


@tuned(CONFIGS, useful, key=("tokens", "columns", "hidden", "BLOCK_M", "SHARED", "GATED"))
@triton.jit
def grouped_product(
    x_ptr,
    weight_ptr,
    shares_ptr,
    out_ptr,
    pairs_ptr,
    experts_ptr,
    padded_ptr,
    tokens,  # noqa: ARG001
    pairs,
    columns,
    hidden: tl.constexpr,
    SHARED: tl.constexpr,  # noqa: N803
    GATED: tl.constexpr,  # noqa: N803
    BLOCK_M: tl.constexpr,  # noqa: N803
    BLOCK_N: tl.constexpr,  # noqa: N803
    BLOCK_K: tl.constexpr,  # noqa: N803
    GROUP_M: tl.constexpr,  # noqa: N803
):
    """A BLOCK_M x BLOCK_N tile of out [pairs, columns] for pairs of one expert, from row pair // SHARED of x [rows, hidden].

    GATED: silu(x gate^T) * x up^T with weight [experts, 2 * columns, hidden]; else shares[pair] * x weight^T with weight
    [experts, columns, hidden].
    """
    blocks = tl.load(padded_ptr) // BLOCK_M
    across = tl.cdiv(columns, BLOCK_N)
    # The grid is that of the worst case.
    if tl.program_id(0) >= blocks * across:
        return
    block, tile = swizzled(tl.program_id(0), blocks, across, GROUP_M)
    pair = tl.load(pairs_ptr + block * BLOCK_M + tl.arange(0, BLOCK_M))
    exists = pair < pairs
    expert = tl.load(experts_ptr + block).to(tl.int64)
    column = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    # Past the last column the last one is read again: cheaper than a mask, and never stored.
    weight_row = tl.minimum(column, columns - 1).to(tl.int64)
    depth = tl.arange(0, BLOCK_K)
    x_ptr += (pair // SHARED).to(tl.int64)[:, None] * hidden + depth[None, :]
    weight_ptr += expert * ((2 if GATED else 1) * columns * hidden) + weight_row[None, :] * hidden + depth[:, None]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    if GATED:
        up = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in tl.range(0, hidden, BLOCK_K):
        if hidden % BLOCK_K == 0:
            x = operand(tl.load(x_ptr + start, mask=exists[:, None], other=0.0))
            weight = operand(tl.load(weight_ptr + start))
        else:
            within = start + depth < hidden
            x = operand(tl.load(x_ptr + start, mask=exists[:, None] & within[None, :], other=0.0))
            weight = operand(tl.load(weight_ptr + start, mask=within[:, None], other=0.0))
        total = tl.dot(x, weight, total)
        if GATED:
            below = weight_ptr + columns * hidden + start
            if hidden % BLOCK_K == 0:
                weight = operand(tl.load(below))
            else:
                weight = operand(tl.load(below, mask=within[:, None], other=0.0))
            up = tl.dot(x, weight, up)
    if GATED:
        total = silu(total) * up
    else:
        total *= tl.load(shares_ptr + pair, mask=exists, other=0.0)[:, None]
    at = pair.to(tl.int64)[:, None] * columns + column[None, :]
    tl.store(out_ptr + at, narrow(total, out_ptr.dtype.element_ty), mask=exists[:, None] & (column < columns)[None, :])


def rows_per_block(pairs: int, experts: int) -> int:
    """The pairs of an expert up to a power of two, so that most experts fill one block, within what a block can be."""
    wanted: int = triton.next_power_of_2(triton.cdiv(pairs, experts))
    return min(max(wanted, _FEWEST_ROWS), _MOST_ROWS)


def fused_moe(
    hidden_states: "Tensor", w1: "Tensor", w2: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor", rows: int | None = None
) -> "Tensor":
    """The sum over a token's experts of topk_weights * w2 (silu(gate) * up), (gate, up) = w1 hidden_states; all contiguous.

    hidden_states [tokens, hidden], w1 [experts, 2 * intermediate, hidden], gate rows first, w2 [experts, hidden, intermediate];
    topk_weights fp32 and topk_ids int32 [tokens, top_k]. `rows` per block are chosen by the load of an expert.
    """
    tokens, hidden = hidden_states.shape
    experts, _, intermediate = w2.shape
    top_k = topk_ids.shape[1]
    pairs = tokens * top_k
    rows = rows or rows_per_block(pairs, experts)
    order, block_experts, padded = align(topk_ids, experts, rows)
    blocks = len(block_experts)

    def product(x: "Tensor", weight: "Tensor", columns: int, shared: int, gated: bool) -> "Tensor":
        out = torch.empty((pairs, columns), dtype=x.dtype, device=x.device)
        grouped_product[lambda meta: (blocks * triton.cdiv(columns, meta["BLOCK_N"]),)](
            *(x, weight, topk_weights, out, order, block_experts, padded, tokens, pairs, columns),
            hidden=x.shape[1],
            SHARED=shared,
            GATED=gated,
            BLOCK_M=rows,
        )
        return out

    activated = product(hidden_states, w1, intermediate, top_k, True)
    outputs = product(activated, w2, hidden, 1, False)
    return moe_sum_reduce(outputs.view(tokens, top_k, hidden), 1.0) if top_k > 1 else outputs
