"""Order statistics: a median and its interval."""

import math
from collections.abc import Sequence
from statistics import median

from .record import Record


class Estimate(Record):
    """A median of `n` samples in seconds with its 95 % interval, and why sampling stopped."""

    median: float
    low: float
    high: float
    n: int
    #: "precise" (the interval is narrow enough) or the cap that ended it: "samples", "device time", "wall time"
    stopped_by: str

    @property
    def half_width(self) -> float:
        """Half the interval as a share of the median: 0.005 is +-0.5 %."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


def interval(samples: Sequence[float]) -> tuple[float, float]:
    """The distribution-free 95 % interval of the median: the order statistics 0.98 sqrt(n) ranks below and above the middle.

    Below six samples no pair of order statistics covers 95 %: the range of the samples is returned, the widest there is.
    Source: Conover, Practical Nonparametric Statistics, the binomial interval in its normal approximation.
    """
    ordered = sorted(samples)
    n = len(ordered)
    # With the correction for continuity, so that small samples are covered too; as far below the middle as above it.
    low = max(math.floor((n - 1) / 2 - 0.98 * math.sqrt(n)), 0)
    return ordered[low], ordered[n - 1 - low]


def estimate(samples: Sequence[float], stopped_by: str) -> Estimate:
    """The Estimate of one case from its samples in seconds."""
    low, high = interval(samples)
    return Estimate(median=median(samples), low=low, high=high, n=len(samples), stopped_by=stopped_by)
