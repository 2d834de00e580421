"""Robust statistics: a median and its interval, scales, and what is unusual among many."""

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


def interval(samples: Sequence[float], z: float = 1.96) -> tuple[float, float]:
    """The distribution-free interval of the median: the order statistics z/2 sqrt(n) ranks below and above the middle.

    `z` 1.96 is 95 %, 1.28 is 80 %. Where no pair of order statistics covers that much (below six samples, for 95 %), the range
    of the samples is returned, the widest there is.
    Source: Conover, Practical Nonparametric Statistics, the binomial interval in its normal approximation.
    """
    ordered = sorted(samples)
    n = len(ordered)
    # With the correction for continuity, so that small samples are covered too; as far below the middle as above it.
    low = max(math.floor((n - 1) / 2 - z / 2 * math.sqrt(n)), 0)
    return ordered[low], ordered[n - 1 - low]


def estimate(samples: Sequence[float], stopped_by: str) -> Estimate:
    """The Estimate of one case from its samples in seconds."""
    low, high = interval(samples)
    return Estimate(median=median(samples), low=low, high=high, n=len(samples), stopped_by=stopped_by)


def mad_scale(values: Sequence[float]) -> float:
    """1.4826 times the median absolute deviation from the median: the standard deviation, whatever outliers there are."""
    middle = median(values)
    return 1.4826 * median(abs(value - middle) for value in values)


def shrunk(scale: float, n: int, pooled: float, pseudo: float = 4) -> float:
    """A scale of `n` values, drawn towards the pooled one of its kind as if `pseudo` more values had that."""
    return math.sqrt((n * scale**2 + pseudo * pooled**2) / (n + pseudo))


def upper_tail(t: float) -> float:
    """The chance that a standard normal value exceeds `t`."""
    return 0.5 * math.erfc(t / math.sqrt(2))


def discoveries(p: Sequence[float], q: float) -> float:
    """The largest p that Benjamini and Hochberg reject at a false discovery rate of `q`; 0 where they reject none.

    Source: Benjamini, Hochberg, "Controlling the false discovery rate", JRSS B 1995.
    """
    ordered = sorted(p)
    return max((one for rank, one in enumerate(ordered, 1) if one <= q * rank / len(ordered)), default=0.0)


def cusum(before: float, t: float, slack: float) -> float:
    """One step of the one-sided CUSUM: how far values have added up above `slack`. Source: Page, Biometrika 1954."""
    return max(0.0, before + t - slack)
