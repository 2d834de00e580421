"""fused_rmsnorm_quant: sum, norm, scale and codes of a row while it stays in registers; the residual is updated in place."""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .fp8_quant import LARGEST, encode
from .fused_add_rms_norm import added
from .launch import TILES, fitting, grid, tuned
from .tiles import whole

if TYPE_CHECKING:
    from torch import Tensor


@tuned(TILES, fitting, overwritten=("residual_ptr",))
@triton.jit
def whole_rows(
    x_ptr,
    residual_ptr,
    weight_ptr,
    q_ptr,
    scale_ptr,
    tokens,
    hidden,
    eps,
    BLOCK: tl.constexpr,  # noqa: N803
    TILE: tl.constexpr,  # noqa: N803
):
    """As many whole rows per program as TILE elements hold, at least one; BLOCK is hidden up to a power of two."""
    row, column, exists, at = whole(tokens, hidden, BLOCK, TILE)
    total = added(x_ptr, residual_ptr, at, exists)
    weight = tl.load(weight_ptr + column, mask=column < hidden, other=0.0).to(tl.float32)
    normed = total * tl.rsqrt(tl.sum(total * total, axis=1) / hidden + eps)[:, None] * weight[None, :]
    largest = tl.max(tl.abs(normed), axis=1)
    scale = tl.where(largest > 0, tl.div_rn(largest, LARGEST), 1.0)
    tl.store(scale_ptr + row, scale, mask=row < tokens)
    tl.store(q_ptr + at, encode(normed, tl.div_rn(1.0, scale)[:, None], q_ptr.dtype.element_ty), mask=exists)


def fused_rmsnorm_quant(x: "Tensor", residual: "Tensor", weight: "Tensor", eps: float) -> "tuple[Tensor, Tensor, Tensor]":
    """(q, scale, residual): residual becomes x + residual, q its norm as e4m3fn; contiguous [tokens, hidden], scale [tokens]."""
    tokens, hidden = x.shape
    q = torch.empty((tokens, hidden), dtype=torch.float8_e4m3fn, device=x.device)
    scale = torch.empty((tokens,), dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(hidden)
    whole_rows[grid(tokens, block)](x, residual, weight, q, scale, tokens, hidden, eps, BLOCK=block)
    return q, scale, residual
