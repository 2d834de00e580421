"""Logarithmic axes whose ticks are named by our own units."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from .style import GRID


def log_axis(axis: Any, low: float, high: float, show: Callable[[float], str], most: int = 9) -> None:
    """Makes an x or y axis logarithmic from `low` to `high`, its ticks named by `show`, `most` of them at most."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

    axes, name = axis.axes, axis.axis_name
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    (axes.set_xlim if name == "x" else axes.set_ylim)(low, high)
    ticks = _ticks(low, high, most)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([_short(show(tick)) for tick in ticks]))
    axis.set_minor_formatter(NullFormatter())
    if high < 100 * low:
        axis.set_minor_locator(NullLocator())
    axes.grid(axis=name, which="major", color=GRID, linewidth=0.7)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten; 1, 2 and 5 in between where there are few, and even steps where the ends are near each other."""
    from matplotlib.ticker import MaxNLocator

    if high < 3 * low:
        even = MaxNLocator(nbins=most - 1, steps=[1, 2, 5, 10]).tick_values(low, high)
        return [tick for tick in (float(f"{tick:.6g}") for tick in even) if low <= tick <= high]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1.0, 2.0, 5.0), (1.0,)):
        ticks = [step * 10.0**n for n in range(first, last + 1) for step in steps if low <= step * 10.0**n <= high]
        if len(ticks) <= most:
            return ticks
    every = math.ceil(len(ticks) / most)
    return ticks[(len(ticks) - 1) % every :: every]


def _short(text: str) -> str:
    """ "1.00 ms" -> "1 ms"."""
    return re.sub(r"(\.\d*?)0+(?!\d)", lambda found: "" if found[1] == "." else found[1], text, count=1)


def span(values: Iterable[float], room: float = 1.6, least: float = 4.0) -> tuple[float, float]:
    """The ends of a logarithmic axis that holds these values with some room, and no less than a factor of `least`."""
    found = list(values)
    low, high = min(found) / room, max(found) * room
    more = max(math.sqrt(least / (high / low)), 1.0)
    return low / more, high * more
