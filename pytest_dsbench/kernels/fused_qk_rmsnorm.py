"""fused_qk_rmsnorm in place: heads of q and k as short rows, many per program; v is never touched."""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from .launch import TILES, fitting, grid, narrow, tuned

if TYPE_CHECKING:
    from torch import Tensor


@tuned(TILES, fitting, overwritten=("qkv_ptr",))
@triton.jit
def whole_heads(
    qkv_ptr,
    q_weight_ptr,
    k_weight_ptr,
    tokens,
    hidden,
    q_heads,
    normed_heads,
    row_size,
    eps,
    BLOCK: tl.constexpr,  # noqa: N803
    TILE: tl.constexpr,  # noqa: N803
):
    """As many heads per program as TILE elements hold: `tokens` heads in all, `hidden` elements each, `normed_heads` a row."""
    ROWS: tl.constexpr = max(TILE // BLOCK, 1)  # noqa: N806
    one = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    head = one % normed_heads
    column = tl.arange(0, BLOCK)
    within = column < hidden
    exists = (one < tokens)[:, None] & within[None, :]
    at = ((one // normed_heads).to(tl.int64) * row_size + head * hidden)[:, None] + column[None, :]
    x = tl.load(qkv_ptr + at, mask=exists, other=0.0).to(tl.float32)
    q_weight = tl.load(q_weight_ptr + column, mask=within, other=0.0).to(tl.float32)
    k_weight = tl.load(k_weight_ptr + column, mask=within, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=1) / hidden + eps)
    # The operator rounds the normalised head before the product with its weight.
    dtype = qkv_ptr.dtype.element_ty
    normed = narrow(x * scale[:, None], dtype).to(tl.float32)
    weight = tl.where((head < q_heads)[:, None], q_weight[None, :], k_weight[None, :])
    tl.store(qkv_ptr + at, narrow(normed * weight, dtype), mask=exists)


def fused_qk_rmsnorm(qkv: "Tensor", q_weight: "Tensor", k_weight: "Tensor", q_heads: int, kv_heads: int, eps: float) -> "Tensor":
    """Normalises the q and k heads of contiguous qkv [tokens, (q_heads + 2 * kv_heads) * head_dim]; weights [head_dim]."""
    tokens, row_size = qkv.shape
    normed_heads = q_heads + kv_heads
    head_dim = q_weight.shape[0]
    block = triton.next_power_of_2(head_dim)
    rows = tokens * normed_heads
    whole_heads[grid(rows, block)](qkv, q_weight, k_weight, rows, head_dim, q_heads, normed_heads, row_size, eps, BLOCK=block)
    return qkv
