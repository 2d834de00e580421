"""The top_k largest of a softmax: a token's logits stay in registers while the largest of them is taken top_k times."""

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from .launch import TILES, fitting, grid, tuned
from .tiles import whole

if TYPE_CHECKING:
    from torch import Tensor

_LOWEST = tl.constexpr(-(2**63))


@triton.jit
def ordered(bits):
    """fp32 bits as an int32 that is ordered as the floats are, and back: applied twice it changes nothing."""
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


@tuned(TILES, fitting, key=("tokens", "hidden", "top_k"))
@triton.jit
def whole_rows(
    x_ptr,
    weight_ptr,
    id_ptr,
    tokens,
    hidden,
    top_k: tl.constexpr,
    PLACES: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
    TILE: tl.constexpr,  # noqa: N803
):
    """As many tokens per program as TILE logits hold, at least one; BLOCK is `hidden`, the experts, up to a power of two."""
    row, column, exists, at = whole(tokens, hidden, BLOCK, TILE)
    x = tl.load(x_ptr + at, mask=exists, other=float("-inf"))
    # Logit above and expert below in one integer: its maximum is the largest logit and, of equal ones, the lowest expert.
    packed = (ordered(x.to(tl.int32, bitcast=True)).to(tl.int64) << 32) | (BLOCK - 1 - column)[None, :]
    packed = tl.where(exists, packed, _LOWEST)
    place = tl.arange(0, PLACES)[None, :]
    taken = tl.full((x.shape[0], PLACES), _LOWEST, dtype=tl.int64)
    for number in tl.range(0, top_k):
        best = tl.max(packed, axis=1)[:, None]
        taken = tl.where(place == number, best, taken)
        packed = tl.where(packed == best, _LOWEST, packed)
    logit = ordered((taken >> 32).to(tl.int32)).to(tl.float32, bitcast=True)
    # Rows past the end have no logits at all, and less than no logits would be NaN.
    most = tl.where(row < tokens, tl.max(x, axis=1), 0.0)[:, None]
    weight = tl.exp(logit - most) / tl.sum(tl.exp(x - most), axis=1)[:, None]
    to = (row * top_k)[:, None] + place
    chosen = (row < tokens)[:, None] & (place < top_k)
    tl.store(weight_ptr + to, weight, mask=chosen)
    tl.store(id_ptr + to, BLOCK - 1 - taken.to(tl.int32), mask=chosen)


def topk_softmax(logits: "Tensor", top_k: int) -> "tuple[Tensor, Tensor]":
    """(weights fp32, ids int32), [tokens, top_k] each, of contiguous fp32 logits [tokens, experts], in descending order."""
    tokens, experts = logits.shape
    weights = torch.empty((tokens, top_k), dtype=torch.float32, device=logits.device)
    ids = torch.empty((tokens, top_k), dtype=torch.int32, device=logits.device)
    block, places = triton.next_power_of_2(experts), triton.next_power_of_2(top_k)
    whole_rows[grid(tokens, block)](logits, weights, ids, tokens, experts, top_k=top_k, PLACES=places, BLOCK=block)
    return weights, ids
