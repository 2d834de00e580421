"""What the pairs of a duet say together: slower, faster or the same."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple

from ..record import Record
from ..stats import interval, mad_scale, shrunk
from ..thresholds import Thresholds

#: Standard error of a median over that of a mean.
_MEDIAN = 1.253
#: 95 % of a normal distribution lie within so many standard errors.
_Z = 1.96
#: Of the order statistics that the interval spans: 80 %, the third of nine pairs to the seventh; two pairs may be disturbed.
_SURE = 1.28


class Limits(Record):
    """From where on a change counts, as shares: 0.018 is 1.8 %."""

    #: the median over the pairs must be beyond this
    change: float
    #: and the nearer end of its 95 % interval beyond this
    bound: float
    #: how many observations `pooled` is worth
    pseudo: int
    #: scale of a pair's delta where little is known of the case
    pooled: float = 0.005
    #: a median below this after so many pairs is no change: the rest of the pairs is not fought; 0 fights all
    settled: float = 0.0
    settled_after: int = 3


def limits_of(given: Thresholds) -> Limits:
    """The limits of a duet that confirms, among the thresholds of the gate."""
    return Limits(change=given.duet_change, bound=given.duet_bound, pseudo=given.pseudo, settled=given.settled)


#: Of a duet that was asked for: all its pairs are fought.
LIMITS = limits_of(Thresholds()).replace(settled=0.0)


def settled(deltas: Sequence[float], limits: Limits) -> bool:
    """Whether so few pairs are enough: they agree that there is nothing near a change."""
    return len(deltas) >= limits.settled_after and abs(median(deltas)) < math.log1p(limits.settled)


def fought(deltas: Sequence[float], limits: Limits) -> tuple[float, ...]:
    """The pairs of a whole duet that would have been fought: those until it was settled."""
    count = next((n for n in range(1, len(deltas)) if settled(deltas[:n], limits)), len(deltas))
    return tuple(deltas[:count])


class Decision(NamedTuple):
    """ln(T new / T old) with its 95 % interval, the word for it, and the scale of one pair's delta that it was decided with."""

    change: float
    low: float
    high: float
    outcome: Literal["regressed", "improved", "same"]
    scale: float


def decide(deltas: Sequence[float], pooled: float | None = None, limits: Limits = LIMITS) -> Decision:
    """What `deltas`, one ln(T new / T old) of each pair of processes, say. `pooled` is the scale of similar cases, if known."""
    n, change = len(deltas), median(deltas)
    scale = shrunk(mad_scale(deltas), n, limits.pooled if pooled is None else pooled, limits.pseudo)
    half = _Z * _MEDIAN * scale / math.sqrt(n)
    # Pairs of a case with two speeds may agree by chance, and their scale is then far too small: order statistics know none.
    first, last = interval(deltas, _SURE)
    low, high = min(change - half, first), max(change + half, last)
    least, bound = math.log1p(limits.change), math.log1p(limits.bound)
    outcome: Literal["regressed", "improved", "same"] = "same"
    if change > least and low > bound:
        outcome = "regressed"
    elif change < -least and high < -bound:
        outcome = "improved"
    return Decision(change, low, high, outcome, scale)
