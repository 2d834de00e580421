"""Measured deployments beside what the corrected model says of them, as text."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...units import show_number
from ..table import table

if TYPE_CHECKING:
    from ...serving.deployments import Held, Moved

#: A change of an error below this is none to be shown.
_SEEN = 5e-4
HEAD = ("deployment", "GPU", "EP", "batch", "context", "measured", "predicted", "error", "tokens/s per user")


def deployment_lines(held: Sequence["Held"], moved: Sequence["Moved"] = ()) -> Iterator[str]:
    """A row for each, then where it comes from, what of it is ours, and what the model says at other batches.

    `moved`: how the errors would be with each assumed value moved by itself.
    """
    yield "tokens/s per GPU, measured by others and predicted with one set of assumptions for all; nothing is fitted to a row"
    yield ""
    yield from table(HEAD, [cells(one) for one in held], left=2)
    for one in held:
        yield ""
        yield from _notes(one)
    if moved:
        yield ""
        yield "errors with one assumption moved down and up, all others left; those that are not named change none"
        yield ""
        yield from table(moved_head(held), moved_rows(held, moved), left=1)


def moved_head(held: Sequence["Held"]) -> list[str]:
    """The head of the table of moved assumptions."""
    return ["assumption", "from", "to", *(one.deployment.name for one in held)]


def moved_rows(held: Sequence["Held"], moved: Sequence["Moved"]) -> list[list[str]]:
    """An assumption each that changes an error, with the errors at both of its ends."""
    return [
        [one.name, one.low, one.high, *(f"{_error(low)} / {_error(high)}" for low, high in zip(*one.ends, strict=True))]
        for one in moved
        if any(abs(at - now.error) >= _SEEN for end in one.ends for at, now in zip(end, held, strict=True))
    ]


def cells(one: "Held") -> list[str]:
    """The row of a deployment."""
    what = one.deployment
    sizes = (what.ep, what.batch, what.context)
    predicted = f"{one.per_gpu:.0f}{'' if one.fits else ' (does not fit)'}"
    rates = (f"{what.measured:.0f}", predicted, _error(one.error), f"{one.user:.1f}")
    return [what.title, what.gpu, *map(str, sizes), *rates]


def _notes(one: "Held") -> Iterator[str]:
    what = one.deployment
    yield f"{what.title}: {what.source}"
    for ours in what.assumed:
        yield f"  {ours.key} {getattr(what, ours.key)} is our assumption: {ours.why}"
    for beside in one.beside:
        error = _error(beside.per_gpu / what.measured - 1)
        yield (
            f"  at batch {beside.batch}, {beside.why}: {beside.per_gpu:.0f} tokens/s per GPU ({error}),"
            f" {show_number(beside.user)} per user"
        )


def _error(value: float) -> str:
    return f"{100 * value:+.1f} %"
