"""What the providers of paged caches share: the pages of each sequence, as libraries want to be told of them, and writes."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..provider import Launch

if TYPE_CHECKING:
    from torch import Tensor


def cache_writer(
    write: Callable[..., object],
    key: "Tensor",
    value: "Tensor",
    key_cache: "Tensor",
    value_cache: "Tensor",
    slot_mapping: "Tensor",
) -> Launch:
    """A launch of vLLM's reshape_and_cache_flash, or of a kernel with its arguments."""
    # For caches of fp8, which these are not.
    scale = key.new_ones(1).float()

    def launch() -> tuple["Tensor", "Tensor"]:
        write(key, value, key_cache, value_cache, slot_mapping, "auto", scale, scale)
        return key_cache, value_cache

    return launch


def page_ids(table: "Tensor", pages: Sequence[int]) -> tuple["Tensor", Callable[[], object]]:
    """The pages that are in use, sequence after sequence, and what a launch must do first: bring them up to date.

    Where every sequence fills its row of the table, that is the table itself, and there is nothing to do.
    """
    import torch

    width = table.shape[1]
    if all(count == width for count in pages):
        return table.view(-1), lambda: None
    flat = table.view(-1)
    places = [row * width + column for row, count in enumerate(pages) for column in range(count)]
    where = torch.tensor(places, device=table.device)
    ids = table.new_empty(len(places))

    def refresh() -> "Tensor":
        return torch.index_select(flat, 0, where, out=ids)

    return refresh(), refresh
