"""The narrow panel of cases without any FLOP: an intensity of 0 has no place on a logarithmic axis."""

import math
from collections.abc import Sequence
from typing import Any

from ...results import Result
from ...units import show_share
from .lettering import fitted
from .marks import draw_marks, size_of
from .scale import log_axis, span
from .style import BLACK, SMALL

#: Inches of one row, and rows at most.
ROW, _MOST = 0.24, 8

Rows = dict[str, list[Result]]


def rows_of(idle: Sequence[Result]) -> Rows:
    """The cases by operator; those with the fewest share the last row where there are too many."""
    groups: Rows = {}
    for one in idle:
        groups.setdefault(one.case.operator, []).append(one)
    ordered = dict(sorted(groups.items(), key=lambda pair: -len(pair[1])))
    if len(ordered) <= _MOST:
        return ordered
    kept = dict(list(ordered.items())[: _MOST - 1])
    others = [one for name, group in ordered.items() if name not in kept for one in group]
    return {**kept, f"{len(ordered) - len(kept)} other operators": others}


def bandwidth_strip(axes: Any, rows: Rows, count: int) -> None:
    """A row per operator, its cases by the share of the bandwidth that they reach."""
    shares = [one.share_of_bandwidth or math.nan for group in rows.values() for one in group]
    log_axis(axes.xaxis, *span([*shares, 1.0], 1.5, 10.0), show_share)
    row = {one.case.identity: place for place, group in enumerate(rows.values()) for one in group}

    def place(one: Result, seconds: float) -> tuple[float, float]:
        return _share(one, seconds), row[one.case.identity]

    draw_marks(axes, [one for group in rows.values() for one in group], place, size_of(count))
    axes.axvline(1.0, color=BLACK, linewidth=1.6, gid="slope")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [fitted(name, 1.5, SMALL) for name in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("cases without FLOP: share of the memory bandwidth")


def _share(one: Result, seconds: float) -> float:
    """The share of the bandwidth at another time."""
    work = one.measurement.work
    return work.bytes / seconds / one.hardware.bandwidth if work else math.nan
