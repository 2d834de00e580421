"""Row-wise references, a chunk of rows at a time, so that the largest production shape needs little memory beside its result."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Elements of a chunk: half a dozen fp64 temporaries of it take 48 MiB, few enough for a CPU's cache to help.
_CHUNK = 2**20


def by_rows(function: Callable[..., "Tensor"], *tensors: "Tensor") -> "Tensor":
    """function(*tensors), some rows of all of them at a time; one row of each must give one row of the result."""
    rows = len(tensors[0])
    step = max(1, _CHUNK // max(1, *(tensor[0].numel() for tensor in tensors)))
    if rows <= step:
        return function(*tensors)
    first = function(*(tensor[:step] for tensor in tensors))
    out = first.new_empty((rows, *first.shape[1:]))
    out[:step] = first
    for start in range(step, rows, step):
        out[start : start + step] = function(*(tensor[start : start + step] for tensor in tensors))
    return out
