"""fused_add_rms_norm in place: the sum stays in registers until it is normalised, so each element is read and written once."""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from .launch import TILES, fitting, grid, narrow, tuned
from .tiles import whole

if TYPE_CHECKING:
    from torch import Tensor


@triton.jit
def added(x_ptr, residual_ptr, at, exists):
    """x + residual, which replaces the residual, as the fp32 value of what was stored."""
    x = tl.load(x_ptr + at, mask=exists, other=0.0).to(tl.float32)
    residual = tl.load(residual_ptr + at, mask=exists, other=0.0).to(tl.float32)
    total = narrow(x + residual, residual_ptr.dtype.element_ty)
    tl.store(residual_ptr + at, total, mask=exists)
    return total.to(tl.float32)


@tuned(TILES, fitting, overwritten=("x_ptr", "residual_ptr"))
@triton.jit
def whole_rows(x_ptr, residual_ptr, weight_ptr, tokens, hidden, eps, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """As many whole rows per program as TILE elements hold, at least one; BLOCK is hidden up to a power of two."""
    _, column, exists, at = whole(tokens, hidden, BLOCK, TILE)
    total = added(x_ptr, residual_ptr, at, exists)
    weight = tl.load(weight_ptr + column, mask=column < hidden, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(total * total, axis=1) / hidden + eps)
    tl.store(x_ptr + at, narrow(total * scale[:, None] * weight[None, :], x_ptr.dtype.element_ty), mask=exists)


def fused_add_rms_norm(x: "Tensor", residual: "Tensor", weight: "Tensor", eps: float) -> "tuple[Tensor, Tensor]":
    """residual becomes x + residual, and x the norm of that times weight: contiguous [tokens, hidden] and [hidden]."""
    tokens, hidden = x.shape
    block = triton.next_power_of_2(hidden)
    whole_rows[grid(tokens, block)](x, residual, weight, tokens, hidden, eps, BLOCK=block)
    return x, residual
