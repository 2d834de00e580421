"""What the providers of paged attention share: the pages of each sequence, as libraries want to be told of them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


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
