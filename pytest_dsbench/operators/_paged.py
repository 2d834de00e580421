"""Pools of pages: how many a batch fills, a table of pages in random order, and the reference's way back to dense keys."""

from collections import Counter
from typing import TYPE_CHECKING

from ..operator import New
from ._attention import alike

if TYPE_CHECKING:
    from torch import Tensor


def filled(length: int, page_size: int) -> int:
    """Pages that one sequence of `length` tokens fills; the last one may be partly empty."""
    return -(-length // page_size)


def used(lengths: tuple[int, ...], page_size: int) -> int:
    """Pages that all sequences together fill: a page belongs to one sequence alone."""
    if alike(lengths):
        return len(lengths) * filled(lengths[0], page_size)
    return sum(times * filled(length, page_size) for length, times in Counter(lengths).items())


def pool(lengths: tuple[int, ...], page_size: int) -> int:
    """Pages of the pool: some more than are filled, as in a server, so that a page that nobody owns can be read by mistake."""
    pages = used(lengths, page_size)
    return pages + max(4, pages // 8)


def block_table(new: New, lengths: tuple[int, ...], page_size: int, multiple: int = 1) -> "Tensor":
    """int32 [sequences, most pages of one]: distinct pages of the pool in random order; entries past the last page hold 0.

    Its width is rounded up to a multiple of `multiple`.
    """
    import torch

    pages = [filled(length, page_size) for length in lengths]
    width = -(-max(pages) // multiple) * multiple
    table = new.integers((len(pages), width), "int32", 1)  # below 1: zeros
    owned = new.permutation(sum(pages), "int32", of=pool(lengths, page_size))
    taken = torch.arange(width, device=table.device) < torch.tensor(pages, device=table.device)[:, None]
    return table.masked_scatter_(taken, owned)


def dense(cache: "Tensor", pages: "Tensor", length: int) -> "Tensor":
    """The first `length` tokens of a sequence, [length, heads, head_dim]: cache [pages, page_size, heads, head_dim]."""
    return cache[pages.long()].flatten(0, 1)[:length]
