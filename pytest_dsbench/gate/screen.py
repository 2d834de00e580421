"""The screen: how far each case is from its window, and how unusual that is. Loose on purpose; what it flags is confirmed.

All differences are of ln T after the anchor of the case's bound was taken off; positive is slower. Source of the rule: the
project's design, docs/gate.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import floor, log, log10, sqrt
from statistics import median, stdev

from ..record import Record
from ..stats import discoveries, mad_scale, shrunk, upper_tail
from ..thresholds import Thresholds
from .baseline import Entry, Night

#: The median absolute deviation of few nights is too small by about this much.
_FEW = 1.15
#: Variance of the median of a normal sample, times its size: pi / 2.
_MEDIAN = 1.57
#: One-sided 5 % and the quantile of a power of 80 %.
_DETECT = 1.645 + 0.842
#: Cases that make a cross-section whose spread can be told.
_ENOUGH = 8


class Screened(Record):
    """One case against its window."""

    #: d, its standard deviation, and their ratio
    change: float
    spread: float
    t: float
    #: anchor-corrected ln T of this night
    level: float
    #: distance from the golden level in scales of one night; None before there is one
    t_golden: float | None = None

    @property
    def slow(self) -> float:
        """The chance of a larger slowdown where nothing changed."""
        return upper_tail(self.t)

    @property
    def fast(self) -> float:
        """The chance of a larger speed-up where nothing changed."""
        return upper_tail(-self.t)

    def mde(self, limits: Thresholds) -> float:
        """The smallest slowdown that is flagged in four of five nights."""
        return max(limits.least, _DETECT * self.spread)

    def allowed(self, limits: Thresholds) -> float:
        """A larger slowdown is flagged."""
        return max(limits.least, 1.645 * self.spread)


class Scales:
    """Night-to-night scales of all cases of a baseline, each shrunk to that of its stratum."""

    def __init__(self, entries: Iterable[Entry], limits: Thresholds) -> None:
        self._limits = limits
        strata: dict[tuple[str, int], list[float]] = {}
        for one in entries:
            if len(one.window) >= limits.learn:
                strata.setdefault(stratum(one), []).append(_raw(one))
        self._pooled = {name: median(scales) for name, scales in strata.items() if len(scales) >= 3}
        everyone = [scale for scales in strata.values() for scale in scales]
        self._overall = median(everyone) if len(everyone) >= 3 else None

    def of(self, entry: Entry) -> float:
        """The standard deviation of one night of this case."""
        limits = self._limits
        count = len(entry.window)
        if count < limits.learn:
            return limits.unlearned
        pooled = self._pooled.get(stratum(entry), self._overall)
        raw = _raw(entry)
        return max(limits.floor, raw if pooled is None else shrunk(raw, count, pooled, limits.pseudo))


def stratum(entry: Entry) -> tuple[str, int]:
    """Cases that are alike in noise: of the same bound and the same decade of T."""
    return entry.by, floor(log10(entry.seconds))


def _raw(entry: Entry) -> float:
    return _FEW * mad_scale([night.level for night in entry.window])


def screen(night: Night, entry: Entry, scale: float) -> Screened:
    """One night of a case against its window."""
    change = night.level - entry.level
    spread = scale * sqrt(1 + _MEDIAN / len(entry.window))
    golden = None if entry.golden is None else (night.level - entry.golden.level) / scale
    return Screened(change=change, spread=spread, t=change / spread, level=night.level, t_golden=golden)


def wary(entry: Entry, spread: float) -> float:
    """A spread that no old provider checks: not below what the plain standard deviation of the window says.

    The robust scale looks away from the rarer speed of a case that has two, and is a poor estimate from few nights.
    """
    levels = [night.level for night in entry.window]
    return max(spread, stdev(levels) * sqrt(1 + _MEDIAN / len(levels))) if len(levels) > 1 else spread


def paired(nights: int) -> float:
    """The spread of the mean of two nights against a window of `nights`, as a share of that of one."""
    return sqrt((0.5 + _MEDIAN / nights) / (1 + _MEDIAN / nights))


def across(pairs: Sequence[tuple[Night, Entry]], limits: Thresholds) -> list[Screened]:
    """Cases against a single earlier night each: what is usual is told by how all of them moved, about their median.

    The changes themselves are not centred: what moves all cases is a change too.
    """
    changes = [night.level - entry.level for night, entry in pairs]
    usual = mad_scale(changes) if len(changes) >= _ENOUGH else limits.prior * sqrt(2)
    found = []
    for change, (night, entry) in zip(changes, pairs, strict=True):
        within = sqrt(_standard_error(night) ** 2 + _standard_error(entry.window[-1]) ** 2)
        spread = max(limits.floor, sqrt(usual**2 + within**2))
        found.append(Screened(change=change, spread=spread, t=change / spread, level=night.level))
    return found


def _standard_error(night: Night) -> float:
    """Of ln of the median, from its 95 % interval within the run."""
    return (log(night.high) - log(night.low)) / (2 * 1.96)


def flagged(found: Mapping[str, Screened], limits: Thresholds) -> set[str]:
    """The cases to look into: those that moved alone, and those that Benjamini and Hochberg find among all of them."""
    # Of fewer cases it would be a plain test at 10 % on either side.
    many = len(found) >= _ENOUGH
    slow = discoveries([one.slow for one in found.values()], limits.discovery) if many else 0.0
    fast = discoveries([one.fast for one in found.values()], limits.discovery) if many else 0.0
    return {name for name, one in found.items() if moved(one, limits) or one.slow <= slow or one.fast <= fast}


def moved(found: Screened, limits: Thresholds) -> bool:
    """The rule for one case alone, which needs no other case to be known."""
    return abs(found.change) > limits.least and min(found.slow, found.fast) < limits.significance
