"""The history of a case as a plot."""

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from ..history import Marked, Series, mark
from ..mistake import Mistake
from ..stats import Estimate

#: What a plot can be written as.
SUFFIXES = (".png", ".svg")

# From the palette of Okabe and Ito, which the colour-blind can tell apart; the shapes differ too.
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#6E6E6E"
_MOST_TICKS = 8
#: Lines of text above a panel for what changed, so that neighbours do not meet.
_TIERS = 3


def plot(found: Sequence[Series], path: Path, last: int | None = None) -> None:
    """Draws a panel per series to a .png or .svg. Raises Mistake for any other suffix and for a path it cannot write to."""
    if path.suffix.lower() not in SUFFIXES:
        raise Mistake(f"--plot: {path} is not {' or '.join(SUFFIXES)}; the suffix of the file says what is drawn")
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(9, 3.4 * len(found)), dpi=120, layout=ConstrainedLayoutEngine(h_pad=0.12))
    panels = figure.subplots(len(found), squeeze=False)[:, 0]
    for axes, series in zip(panels, found, strict=True):
        _panel(axes, series, mark(series, last))
    try:
        figure.savefig(path)
    except OSError as error:
        raise Mistake(f"--plot: cannot write {path}: {error.strerror or error}") from None


def _panel(axes: Any, series: Series, marked: Sequence[Marked]) -> None:
    seconds = [one.point.time.high for one in marked if one.point.time]
    scale, unit = _unit(max(seconds, default=1.0))
    _points(axes, marked, scale)
    _steps(axes, marked, scale)
    tiers = _changes(axes, marked)
    axes.set_title(series.name, loc="left", fontsize=10, fontweight="bold", pad=6 + 11 * tiers)
    axes.set_ylabel(f"T in {unit}")
    _runs_axis(axes, marked)
    if axes.get_legend_handles_labels()[0]:
        # Beside the panel: inside it, there is always a series that runs below the legend.
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _unit(seconds: float) -> tuple[float, str]:
    return next(((scale, unit) for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")) if seconds >= scale), (1e-9, "ns"))


def _points(axes: Any, marked: Sequence[Marked], scale: float) -> None:
    """Medians with their intervals: filled where they count, open where they are outliers, crosses where they did not pass."""
    kinds: dict[str, list[tuple[int, Estimate]]] = {"run": [], "single outlier": [], "not passed": []}
    for i, one in enumerate(marked):
        if one.point.time:
            kind = "not passed" if one.point.timed is None else "single outlier" if one.mark.spike else "run"
            kinds[kind].append((i, one.point.time))
    looks = {
        "run": {"color": _BLUE, "marker": "o"},
        "single outlier": {"color": _BLUE, "marker": "o", "markerfacecolor": "white"},
        "not passed": {"color": _GREY, "marker": "x"},
    }
    for kind, pairs in kinds.items():
        if pairs:
            middles = [time.median / scale for _, time in pairs]
            below = [max(time.median - time.low, 0.0) / scale for _, time in pairs]
            above = [max(time.high - time.median, 0.0) / scale for _, time in pairs]
            look = {"linestyle": "none", "markersize": 5, "elinewidth": 1, "capsize": 2, "label": kind, **looks[kind]}
            axes.errorbar([i for i, _ in pairs], middles, yerr=[below, above], **look)
    untimed = [i for i, one in enumerate(marked) if one.point.time is None]
    if untimed:
        foot = axes.get_xaxis_transform()
        axes.plot(untimed, [0.03] * len(untimed), "|", color=_GREY, markersize=8, transform=foot, label="no time")


def _steps(axes: Any, marked: Sequence[Marked], scale: float) -> None:
    """Levels as lines, from the first to the last run that shares them without another in between, and steps as numbers."""
    fitted = [(i, one) for i, one in enumerate(marked) if one.mark.level is not None]
    label: str | None = "level"
    for level, group in groupby(fitted, key=lambda pair: (pair[1].mark.level or 0.0, pair[1].point.environment.key())):
        places = [i for i, _ in group]
        ends = [places[0] - 0.4, places[-1] + 0.4]
        axes.plot(ends, [level[0] / scale] * 2, color=_ORANGE, linewidth=2, zorder=3, label=label)
        label = None
    for i, one in fitted:
        if one.mark.step is not None and one.point.time:
            top = max(one.mark.level or 0.0, one.point.time.high) / scale
            said = {"textcoords": "offset points", "fontsize": 8, "color": _ORANGE, "ha": "left", "va": "bottom"}
            axes.annotate(f"{100 * one.mark.step:+.1f} %", (i - 0.4, top), (0, 5), annotation_clip=False, **said)
    axes.margins(x=0.03, y=0.16)


def _changes(axes: Any, marked: Sequence[Marked]) -> int:
    """Dashed lines where the environment changed, and what it was above the panel; how many lines of text there are."""
    places = [(i, one.mark.changed) for i, one in enumerate(marked) if i and one.mark.changed]
    top = axes.get_xaxis_transform()
    for number, (i, changed) in enumerate(places):
        axes.axvline(i - 0.5, color=_GREY, linestyle="--", linewidth=1)
        right = i > 0.6 * len(marked)
        said = {"fontsize": 7.5, "color": _GREY, "ha": "right" if right else "left", "va": "bottom"}
        # The dashed line goes on to the corner of its own text.
        stem = {"arrowstyle": "-", "linestyle": "--", "color": _GREY, "relpos": (int(right), 0), "shrinkA": 0, "shrinkB": 0}
        axes.annotate(_shortly(changed), (i - 0.5, 1.0), (0, 2 + 11 * (number % _TIERS)), top, "offset points", stem, **said)
    return min(len(places), _TIERS)


def _shortly(changed: Sequence[str]) -> str:
    text = ", ".join(changed)
    return text if len(text) <= 60 else ", ".join(one.split(" ", 1)[0] for one in changed)


def _runs_axis(axes: Any, marked: Sequence[Marked]) -> None:
    """Runs stand evenly spaced, as they follow each other: dates with ten runs and months without one stay legible."""
    every = max(math.ceil(len(marked) / _MOST_TICKS), 1)
    ticks = range(0, len(marked), every)
    names = [f"{_date(marked[i].point.started)}\n{(marked[i].point.environment.commit or '')[:7]}" for i in ticks]
    axes.set_xticks(list(ticks), names, fontsize=8)
    axes.set_xlim(-0.7, len(marked) - 0.3)
    axes.grid(axis="y", color="#E0E0E0", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _date(started: str) -> str:
    try:
        return f"{datetime.fromisoformat(started):%Y-%m-%d}"
    except ValueError:
        return started[:10]
