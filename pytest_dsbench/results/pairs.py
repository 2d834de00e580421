"""Two runs, or two devices, case by case."""

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Literal

from ..record import Record
from .result import Result


class Pair(Record):
    """One case on both sides, timed on both."""

    first: Result
    second: Result

    @property
    def ratio(self) -> float:
        """Time of the second over that of the first: above 1 it is slower."""
        return (self.second.seconds or math.nan) / (self.first.seconds or math.nan)

    @property
    def clear(self) -> bool:
        """Whether the 95 % intervals do not meet. It is not the gate's verdict, which also knows how a case scatters by night."""
        one, other = self.first.interval, self.second.interval
        return one is not None and other is not None and (one[1] < other[0] or other[1] < one[0])


class Comparison(Record):
    """All cases that both sides have, in the order of the first, and how many only one of them has."""

    pairs: tuple[Pair, ...]
    #: whether each case was compared by the same provider, or by the fastest on each side, where they share none
    by: Literal["provider", "fastest"] = "provider"
    only_first: int = 0
    only_second: int = 0

    @property
    def middle(self) -> float | None:
        """Median of the ratios."""
        return median(pair.ratio for pair in self.pairs) if self.pairs else None


def compare(first: Iterable[Result], second: Iterable[Result]) -> Comparison:
    """The passed cases of two sides, by operator, dimensions and provider; by their fastest where no provider is common."""
    one, other = _passed(first), _passed(second)
    found = _matched({x.case.identity: x for x in one}, {x.case.identity: x for x in other}, "provider")
    return found if found.pairs else _matched(_fastest(one), _fastest(other), "fastest")


def _passed(found: Iterable[Result]) -> list[Result]:
    return [one for one in found if one.measurement.status == "passed" and one.seconds]


def _fastest(found: Sequence[Result]) -> dict[str, Result]:
    best: dict[str, Result] = {}
    for one in found:
        known = best.get(one.case.shape)
        if known is None or (one.seconds or math.inf) < (known.seconds or math.inf):
            best[one.case.shape] = one
    return best


def _matched(one: dict[str, Result], other: dict[str, Result], by: Literal["provider", "fastest"]) -> Comparison:
    pairs = tuple(Pair(first=one[key], second=other[key]) for key in one if key in other)
    return Comparison(pairs=pairs, by=by, only_first=len(one) - len(pairs), only_second=len(other) - len(pairs))
