"""What the delta-rule operators share: decay within a chunk, chunks of a sequence, a pool of states of which some rows move."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..operator import New

if TYPE_CHECKING:
    from torch import Tensor

#: log10 of the fastest decay of the first and of the last head, per token: one remembers for a chunk and more, one for a token.
_SLOWEST, _FASTEST = -1.7, -0.2


def chunks(tokens: int, chunk: int) -> Iterator[slice]:
    """The tokens of each chunk in turn; the last chunk may be short."""
    for start in range(0, tokens, chunk):
        yield slice(start, min(start + chunk, tokens))


def cumulative_decay(new: New, batch: int, tokens: int, heads: int, chunk: int) -> "Tensor":
    """g fp32 [batch, tokens, heads]: the logarithm of what is left of the state, from the begin of its chunk to each token.

    It falls from token to token and begins anew in every chunk; heads differ, from slow to fast.
    """
    import torch

    g = new.uniform((batch, tokens, heads), "fp32")
    g.mul_(torch.logspace(_SLOWEST, _FASTEST, heads, device=g.device)).neg_()
    for some in chunks(tokens, chunk):
        g[:, some] = g[:, some].cumsum(1)
    return g


def pool_flaw(name: str, got: "Tensor", want: "Tensor", indices: "Tensor", rel_l2: float) -> str | None:
    """Holds a pool of states against its reference, row by row, since a few wrong rows are lost in the norm of a large pool.

    Rows that `indices` name may be off by `rel_l2` of themselves; all others must be what they were, bit by bit.
    """
    import torch

    touched = set(indices.tolist())
    for row in range(len(want)):
        if row not in touched:
            if not torch.equal(got[row], want[row]):
                return f"{name}[{row}] changed, though no sequence has its state there"
            continue
        norm = float(want[row].norm())
        error = float((got[row] - want[row]).norm())
        if not error <= rel_l2 * norm:
            return f"{name}[{row}] has a relative error of {error / norm if norm else error:.2e}; at most {rel_l2:g} is allowed"
    return None
