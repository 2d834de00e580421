"""gated_rms_norm: norm and gate of many short rows per program, each element read once."""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .launch import TILES, fitting, grid, narrow, tuned
from .silu_and_mul import silu
from .tiles import whole

if TYPE_CHECKING:
    from torch import Tensor


@tuned(TILES, fitting)
@triton.jit
def whole_rows(x_ptr, z_ptr, weight_ptr, out_ptr, tokens, hidden, eps, BLOCK: tl.constexpr, TILE: tl.constexpr):  # noqa: N803
    """As many whole rows per program as TILE elements hold, at least one; BLOCK is hidden up to a power of two."""
    _, column, exists, at = whole(tokens, hidden, BLOCK, TILE)
    x = tl.load(x_ptr + at, mask=exists, other=0.0).to(tl.float32)
    z = tl.load(z_ptr + at, mask=exists, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=column < hidden, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=1) / hidden + eps)
    out = x * scale[:, None] * weight[None, :] * silu(z)
    tl.store(out_ptr + at, narrow(out, out_ptr.dtype.element_ty), mask=exists)


def gated_rms_norm(x: "Tensor", z: "Tensor", weight: "Tensor", eps: float) -> "Tensor":
    """x / rms(x) * weight * silu(z) for contiguous x and z [rows, hidden] and weight [hidden]."""
    rows, hidden = x.shape
    out = torch.empty((rows, hidden), dtype=x.dtype, device=x.device)
    block = triton.next_power_of_2(hidden)
    whole_rows[grid(rows, block)](x, z, weight, out, rows, hidden, eps, BLOCK=block)
    return out
