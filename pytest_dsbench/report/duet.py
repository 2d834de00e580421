"""The results of a duet in the terminal, one line each as they come."""

from collections import Counter
from collections.abc import Iterable, Sequence

from ..duet.conduct import Duel, Half, Outcome
from ..units import show_delta, show_seconds

#: Column widths after the name of the case: versions, times, change, interval.
_WIDTHS = (20, 20, 9, 9, 9, 20)
_HEAD = ("old", "new", "T old", "T new", "change", "95 % interval")
#: Outcomes in the order in which they are counted.
_ORDER: tuple[Outcome, ...] = ("regressed", "improved", "same", "noisy_host", "invalid", "crashed", "timed_out", "refused")


def head_line(width: int) -> str:
    """The head of the table; the cases' names are `width` wide."""
    return _row("case", _HEAD, width, "verdict")


def duel_lines(duel: Duel, width: int) -> list[str]:
    """One line for a result, and one for each thing there is to say about it."""
    old, new = _versions(duel.old, duel.new)
    times = [show_seconds(half.seconds) if half else "-" for half in (duel.old, duel.new)]
    between = f"{_percent(duel.low)} .. {_percent(duel.high)}"
    cells = (old, new, *times, _percent(duel.change), between if duel.low is not None else "-")
    line = _row(duel.case.name, cells, width, duel.outcome.replace("_", " "))
    return [line, *(f"  {text}" for text in (duel.reason, *duel.notes) if text)]


def count_line(duels: Iterable[Duel]) -> str:
    """How many there were of each outcome."""
    counts = Counter(duel.outcome for duel in duels)
    return ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in _ORDER if counts[name])


def _row(name: str, cells: Sequence[str], width: int, verdict: str) -> str:
    aligned = [cell.ljust(wide) if n < 2 else cell.rjust(wide) for n, (cell, wide) in enumerate(zip(cells, _WIDTHS, strict=True))]
    return "  ".join([name.ljust(width), *aligned, verdict])


def _versions(old: Half | None, new: Half | None) -> tuple[str, str]:
    """The package whose version differs, where one does; of several, the first. A local part such as +cpu is left out."""
    if old is None or new is None:
        return "-", "-"
    names = [*old.packages, *new.packages]
    name = next((one for one in names if old.packages.get(one) != new.packages.get(one)), names[0])
    first, second = (f"{name} {half.packages.get(name, '-').partition('+')[0]}" for half in (old, new))
    return first, second


def _percent(change: float | None) -> str:
    return "-" if change is None else show_delta(change)
