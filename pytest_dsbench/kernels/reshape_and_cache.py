"""reshape_and_cache in place: keys and values of new tokens copied to their slots; all other slots are never touched."""

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from .launch import TILES, fitting, grid, tuned
from .tiles import columns, piece

if TYPE_CHECKING:
    from torch import Tensor


# Not `overwritten`: what is written does not depend on what was there, so the caches are right after any number of calls.
@tuned(TILES, fitting)
@triton.jit
def copied(
    key_ptr,
    value_ptr,
    key_cache_ptr,
    value_cache_ptr,
    slot_ptr,
    tokens,
    hidden,
    BLOCK: tl.constexpr,  # noqa: N803
    TILE: tl.constexpr,  # noqa: N803
):
    """A tile of TILE elements of keys and of values, BLOCK of them of one token; a slot below 0 is skipped."""
    row, column, exists = piece(tokens, hidden, BLOCK, TILE)
    slot = tl.load(slot_ptr + row, mask=row < tokens, other=-1).to(tl.int64)
    at = (row * hidden)[:, None] + column[None, :]
    key = tl.load(key_ptr + at, mask=exists)
    value = tl.load(value_ptr + at, mask=exists)
    exists &= (slot >= 0)[:, None]
    to = (slot * hidden)[:, None] + column[None, :]
    tl.store(key_cache_ptr + to, key, mask=exists)
    tl.store(value_cache_ptr + to, value, mask=exists)


def reshape_and_cache(
    key: "Tensor", value: "Tensor", key_cache: "Tensor", value_cache: "Tensor", slot_mapping: "Tensor"
) -> "tuple[Tensor, Tensor]":
    """key and value [tokens, heads, head_dim] into the slots of caches [pages, page_size, heads, head_dim], all contiguous."""
    tokens = key.shape[0]
    hidden = key.shape[1] * key.shape[2]
    block = columns(hidden)
    copied[grid(tokens, block, triton.cdiv(hidden, block))](
        key, value, key_cache, value_cache, slot_mapping, tokens, hidden, BLOCK=block
    )
    return key_cache, value_cache
