"""fp8 product with scales per block: every partial sum of a K block is scaled in fp32 registers and added up there."""

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

from .launch import narrow, tuned
from .products import config, fits, operand, swizzled

if TYPE_CHECKING:
    from torch import Tensor

#: Codes of K that one product takes: half a group of 256, a whole one of 128 or less.
_DEEPEST = 128
#: The least that an fp8 instruction of the tensor cores takes.
_SHALLOWEST = 32
_TILES = [
    *((64, 64, 4, 4), (64, 128, 4, 3), (64, 128, 4, 4), (64, 256, 8, 3), (128, 64, 4, 4), (128, 128, 8, 3), (128, 128, 8, 4)),
    *((16, 64, 4, 4), (16, 64, 4, 6), (16, 128, 4, 4), (32, 64, 4, 4), (32, 64, 4, 6), (32, 128, 4, 4)),
]
CONFIGS = [
    config(stages, warps, BLOCK_M=rows, BLOCK_N=columns, GROUP_M=8)  #
    for rows, columns, warps, stages in _TILES
]


def useful(configs: list[Any], args: dict[str, Any], **meta: Any) -> list[Any]:
    """The configurations that fit and whose tiles are about as tall as `a`."""
    tall = min(max(triton.next_power_of_2(args["m"]), 16), 128)
    heights = {tall, max(tall // 2, 16)} if tall < 128 else {64, 128}
    keep = []
    for one in configs:
        rows, columns = one.kwargs["BLOCK_M"], one.kwargs["BLOCK_N"]
        shared = one.num_stages * (rows + columns) * meta["BLOCK_K"]
        # Two tiles are held: the sum, and the product that is about to be scaled.
        if rows in heights and fits(one, shared, 2 * rows * columns):
            keep.append(one)
    return keep


@tuned(CONFIGS, useful, key=["m", "n", "k", "GROUP_N", "GROUP_K"])
@triton.jit
def scaled_product(
    a_ptr,
    b_ptr,
    a_scales_ptr,
    b_scales_ptr,
    out_ptr,
    m,
    n,
    k: tl.constexpr,
    GROUP_N: tl.constexpr,  # noqa: N803
    GROUP_K: tl.constexpr,  # noqa: N803
    BLOCK_K: tl.constexpr,  # noqa: N803
    BLOCK_M: tl.constexpr,  # noqa: N803
    BLOCK_N: tl.constexpr,  # noqa: N803
    GROUP_M: tl.constexpr,  # noqa: N803
):
    """One BLOCK_M x BLOCK_N tile of the output: steps of BLOCK_K, PIECES of them to every group of GROUP_K."""
    PIECES: tl.constexpr = (GROUP_K + BLOCK_K - 1) // BLOCK_K  # noqa: N806
    GROUPS: tl.constexpr = k // GROUP_K  # noqa: N806
    # A tile inside one group of columns has one scale of b per step; otherwise every column has its own.
    ONE_SCALE: tl.constexpr = GROUP_N % BLOCK_N == 0  # noqa: N806
    # The fp8 instructions take 64 rows: of few rows of `a` the transposed product is formed, whose rows are those of `b`.
    FLIPPED: tl.constexpr = BLOCK_M < 64  # noqa: N806
    down, across = swizzled(tl.program_id(0), tl.cdiv(m, BLOCK_M), tl.cdiv(n, BLOCK_N), GROUP_M)
    row = down.to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = across.to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    # Past the last row and column the last one is read again: cheaper than masks, and never stored.
    inner_row, inner_column = tl.minimum(row, m - 1), tl.minimum(column, n - 1)
    a_ptr += inner_row[:, None] * k + depth[None, :]
    b_ptr += inner_column[None, :] * k + depth[:, None]
    a_scales_ptr += inner_row * GROUPS
    b_scales_ptr += (across * BLOCK_N // GROUP_N if ONE_SCALE else inner_column // GROUP_N) * GROUPS
    total = tl.zeros((BLOCK_N, BLOCK_M) if FLIPPED else (BLOCK_M, BLOCK_N), dtype=tl.float32)
    for step in tl.range(0, GROUPS * PIECES):
        group = step // PIECES
        at = group * GROUP_K + step % PIECES * BLOCK_K
        if GROUP_K % BLOCK_K == 0:
            a = tl.load(a_ptr + at)
            b = tl.load(b_ptr + at)
        else:
            within = step % PIECES * BLOCK_K + depth < GROUP_K
            a = tl.load(a_ptr + at, mask=within[None, :], other=0.0)
            b = tl.load(b_ptr + at, mask=within[:, None], other=0.0)
        a_scale = tl.load(a_scales_ptr + group)
        b_scale = tl.load(b_scales_ptr + group)
        a, b = operand(a), operand(b)
        if FLIPPED:
            product = tl.dot(tl.trans(b), tl.trans(a))
            total += product * ((a_scale * b_scale)[None, :] if ONE_SCALE else b_scale[:, None] * a_scale[None, :])
        else:
            product = tl.dot(a, b)
            total += product * ((a_scale * b_scale)[:, None] if ONE_SCALE else a_scale[:, None] * b_scale[None, :])
    if FLIPPED:
        total = tl.trans(total)
    at = row[:, None] * n + column[None, :]
    tl.store(out_ptr + at, narrow(total, out_ptr.dtype.element_ty), mask=(row < m)[:, None] & (column < n)[None, :])


def block_scaled_mm(
    a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor", group_n: int, group_k: int, out_dtype: torch.dtype
) -> "Tensor":
    """(a * a_scales) (b * b_scales)^T, all contiguous.

    a [m, k] and b [n, k] e4m3fn, a_scales fp32 [m, k / group_k], b_scales fp32 [n / group_n, rounded up, k / group_k].
    """
    (m, k), n = a.shape, b.shape[0]
    out = torch.empty((m, n), dtype=out_dtype, device=a.device)

    def grid(meta: dict[str, Any]) -> tuple[int]:
        return (triton.cdiv(m, meta["BLOCK_M"]) * triton.cdiv(n, meta["BLOCK_N"]),)

    depth = min(max(triton.next_power_of_2(group_k), _SHALLOWEST), _DEEPEST)
    scaled_product[grid](a, b, a_scales, b_scales, out, m, n, k, GROUP_N=group_n, GROUP_K=group_k, BLOCK_K=depth)
    return out
