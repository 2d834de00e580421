"""Rows grouped by expert whose NVFP4 scales begin at a whole tile for every expert."""

from typing import TYPE_CHECKING

from ..operator import New
from ._nvfp4 import BLOCK, TILE, padded, swizzle, unswizzle
from ._routing import loads

if TYPE_CHECKING:
    from torch import Tensor


def scale_rows(tokens: int, experts: int, top_k: int) -> int:
    """Rows of the scales of all experts, each expert's padded to whole tiles: the same however the loads are dealt out."""
    return sum(padded(load, 1)[0] for load in loads(tokens, experts, top_k))


def drawn_offsets(new: New, tokens: int, experts: int, top_k: int) -> tuple["Tensor", "Tensor", "Tensor"]:
    """Rows of each expert int32 [experts], and where its rows and its scales begin, both int32 [experts + 1].

    The loads that the work is counted from go to other experts in every content; scales begin at multiples of 128 rows.
    """
    import torch

    dealt = new.permutation(experts, "int32")
    counts = torch.tensor(loads(tokens, experts, top_k), dtype=torch.int32, device=dealt.device)[dealt.long()]
    tiles = (counts + TILE[0] - 1) // TILE[0] * TILE[0]
    begins = []
    for sizes in (counts, tiles):
        begin = new.integers((experts + 1,), "int32", 1)  # below 1: zeros
        begin[1:] = sizes.cumsum(0)
        begins.append(begin)
    return counts, begins[0], begins[1]


def owners(rows: int, expert_offsets: "Tensor") -> "Tensor":
    """The expert of every row, int64 [rows]."""
    import torch

    return torch.searchsorted(expert_offsets[1:].contiguous(), torch.arange(rows, device=expert_offsets.device), right=True)


def places(rows: int, expert_offsets: "Tensor", blockscale_offsets: "Tensor") -> "Tensor":
    """The row among the padded scales of every row, int64 [rows]."""
    import torch

    mine = owners(rows, expert_offsets)
    return torch.arange(rows, device=mine.device) + (blockscale_offsets[:-1] - expert_offsets[:-1])[mine]


def grouped_scales(linear: "Tensor", total: int, expert_offsets: "Tensor", blockscale_offsets: "Tensor") -> "Tensor":
    """Linear scales [rows, columns] swizzled expert by expert, [total, columns in whole tiles]; padding holds zeros."""
    import torch

    spread = linear.new_zeros((total, linear.shape[1]), dtype=torch.uint8)
    spread[places(len(linear), expert_offsets, blockscale_offsets)] = linear.view(torch.uint8)
    # Every expert begins a tile, so that its own rows are swizzled as if they were alone.
    return swizzle(spread).view(linear.dtype)


def row_scales(scales: "Tensor", rows: int, columns: int, expert_offsets: "Tensor", blockscale_offsets: "Tensor") -> "Tensor":
    """The inverse of `grouped_scales`, for rows x columns elements: linear scales [rows, columns / 16]."""
    import torch

    plain = unswizzle(scales).view(torch.uint8)[:, : columns // BLOCK]
    return plain[places(rows, expert_offsets, blockscale_offsets)].view(scales.dtype)
