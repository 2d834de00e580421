"""The simple rules that gates are often made of, for comparison: each says which cases it would call slower."""

from collections.abc import Callable
from math import sqrt

import numpy as np

from .noise import Flags, Floats

#: Two-sided 95 % of Student's t with two degrees of freedom: an interval over three launches.
_T2 = 4.303
#: Two-sided 5 % of the normal distribution.
_Z = 1.96

#: Samples of tonight, and of the nights before, the last one last: case, launch, sample.
Rule = Callable[[Floats, "Past"], Flags]


class Past:
    """What the simple rules remember: the last run, and the medians of the nights before."""

    def __init__(self, nights: int) -> None:
        self._nights = nights
        self.last: Floats = np.empty(0)
        self.medians: list[Floats] = []

    def add(self, samples: Floats) -> None:
        """Remembers a night."""
        self.last = samples
        self.medians = [*self.medians, _median(samples)][-self._nights :]


def _median(samples: Floats) -> Floats:
    found: Floats = np.median(_flat(samples), axis=1)
    return found


def _flat(samples: Floats) -> Floats:
    return samples.reshape(len(samples), -1)


def fixed_median(samples: Floats, past: Past) -> Flags:
    """5 % over the median of the last run."""
    return _median(samples) > 1.05 * _median(past.last)


def fixed_minimum(samples: Floats, past: Past) -> Flags:
    """5 % over the minimum of the last run."""
    found: Flags = _flat(samples).min(axis=1) > 1.05 * _flat(past.last).min(axis=1)
    return found


def overlap(samples: Floats, past: Past) -> Flags:
    """The 95 % intervals of the means of two runs, each over its launches, do not overlap."""
    return _mean(samples, -1) > _mean(past.last, 1)


def _mean(samples: Floats, side: int) -> Floats:
    launches = samples.mean(axis=2)
    found: Floats = launches.mean(axis=1) + side * _T2 * launches.std(axis=1, ddof=1) / sqrt(launches.shape[1])
    return found


def mann_whitney(samples: Floats, past: Past) -> Flags:
    """Mann and Whitney's test of all raw samples against those of the last run: p < 0.05, and slower. No ties are looked for."""
    now, then = _flat(samples), _flat(past.last)
    n, m = now.shape[1], then.shape[1]
    ranks = np.argsort(np.argsort(np.concatenate([now, then], axis=1), axis=1), axis=1) + 1
    u = ranks[:, :n].sum(axis=1) - n * (n + 1) / 2
    found: Flags = (u - n * m / 2) / sqrt(n * m * (n + m + 1) / 12) > _Z
    return found


def history(samples: Floats, past: Past) -> Flags:
    """More than 3 % and 3.5 scales (1.4826 MAD) over the median of the nights before."""
    before = np.stack(past.medians)
    middle = np.median(before, axis=0)
    scale = 1.4826 * np.median(np.abs(before - middle), axis=0)
    now = _median(samples)
    return (now > 1.03 * middle) & (now - middle > 3.5 * scale)


RULES: dict[str, Rule] = {
    "fixed 5 % on the median against the last run": fixed_median,
    "fixed 5 % on the minimum": fixed_minimum,
    "interval overlap of two runs": overlap,
    "Mann-Whitney on raw samples, p < 0.05": mann_whitney,
    "history, z > 3.5 and 3 %": history,
}
