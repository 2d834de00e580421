"""What the pairs of a duet say together: slower, faster or the same."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple

from ..record import Record
from ..stats import mad_scale, shrunk

#: Standard error of a median over that of a mean.
_MEDIAN = 1.253
#: 95 % of a normal distribution lie within so many standard errors.
_Z = 1.96


class Limits(Record):
    """From where on a change counts, as shares: 0.018 is 1.8 %."""

    #: the median over the pairs must be beyond this
    change: float = 0.018
    #: and the nearer end of its 95 % interval beyond this
    bound: float = 0.015
    #: scale of a pair's delta where little is known of the case, and how many observations that is worth
    pooled: float = 0.005
    pseudo: int = 4


LIMITS = Limits()


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
    least, bound = math.log1p(limits.change), math.log1p(limits.bound)
    outcome: Literal["regressed", "improved", "same"] = "same"
    if change > least and change - half > bound:
        outcome = "regressed"
    elif change < -least and change + half < -bound:
        outcome = "improved"
    return Decision(change, change - half, change + half, outcome, scale)
