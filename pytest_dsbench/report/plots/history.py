"""The history of cases over many runs, and where their level stepped."""

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from ...history import Marked, Series, mark, series_of
from ...results import Device
from ...stats import Estimate
from ...units import show_seconds
from .lettering import fitted, plain
from .origin import files, when
from .paper import Page, page
from .style import BLUE, GREY, GRID, SMALL, TEXT, styled
from .style import VERMILION as LEVEL
from .write import checked, save_as

#: Runs that make a history, and panels of a device's picture.
LEAST, _MOST = 3, 5
_MOST_TICKS = 8
#: Lines of text above a panel for what changed, so that neighbours do not meet, and the height of one in points.
_TIERS, _TIER = 3, 11
#: Inches: a page, a panel with its labels, and the panel in it.
_WIDTH, _PITCH, _LEFT, _BOTTOM, _W, _H = 10.0, 2.85, 0.95, 0.6, 7.4, 1.95


def plot(found: Sequence[Series], path: Path, last: int | None = None, origin: str = "") -> None:
    """Draws a panel per series to a .png or .svg. Raises Mistake for any other suffix and for a path it cannot write to."""
    checked(path, "--plot")
    save_as(_figure(found, "History", f"{len(found)} cases" if len(found) != 1 else "", origin, last), path, "--plot")


@styled
def history(device: Device) -> Any:
    """The figure of the cases of a device with the largest steps; None where there is no step."""
    dated = [source for source in device.sources if source.header.started]
    found = series_of((one.header, one.path, [result.measurement for result in one.results]) for one in dated)
    steps = sorted(((_largest(one), one) for one in found), key=lambda pair: -pair[0])
    stepped = [one for step, one in steps if step > 0]
    if not stepped:
        return None
    # The largest of each operator first: twenty cases of one kernel would say the same.
    first = {one.operator: one for one in reversed(stepped)}
    shown = sorted(stepped, key=lambda one: one is not first[one.operator])[:_MOST]
    subtitle = f"{len(stepped)} of {len(found)} cases have a step; of each operator the largest comes first · {when(dated)}"
    return _figure(shown, f"History on {device.title} ({device.key})", subtitle, files(dated))


def _largest(series: Series) -> float:
    """The largest step as a share; 0 where there is none."""
    if sum(point.timed is not None for point in series.points) < LEAST:
        return 0.0
    return max((abs(one.mark.step) for one in mark(series) if one.mark.step is not None), default=0.0)


@styled
def _figure(found: Sequence[Series], title: str, subtitle: str, origin: str, last: int | None = None) -> Any:
    notes = ["Steps are found in ln T among runs in like conditions; runs stand evenly spaced, in the order of time."]
    marked = [mark(series, last) for series in found]
    heights = [_PITCH + _TIER * _tiers(one) / 72 for one in marked]
    paper = page(title, subtitle, notes, origin, (_WIDTH, sum(heights)))
    bottom = sum(heights) + _BOTTOM
    for series, marks, height in zip(found, marked, heights, strict=True):
        bottom -= height
        _panel(paper, paper.axes(_LEFT, bottom, _W, _H, label="history"), series, marks, bottom + _H)
    return paper.figure


def _panel(paper: Page, axes: Any, series: Series, marked: Sequence[Marked], top: float) -> None:
    seconds = [one.point.time.high for one in marked if one.point.time]
    unit = show_seconds(max(seconds, default=1.0)).split()[1]
    scale = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[unit]
    _points(axes, marked, scale)
    _steps(axes, marked, scale)
    _changes(axes, marked)
    name = fitted(series.name, _WIDTH - 0.4, TEXT, bold=True)
    paper.text(0.2, top + (8 + _TIER * _tiers(marked)) / 72, name, fontsize=TEXT, fontweight="bold", va="bottom", gid="heading")
    axes.set_ylabel(f"T in {unit}")
    _runs_axis(axes, marked)
    if axes.get_legend_handles_labels()[0]:
        # Beside the panel: inside it, there is always a series that runs below the legend.
        axes.legend(fontsize=SMALL, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _points(axes: Any, marked: Sequence[Marked], scale: float) -> None:
    """Medians with their intervals: filled where they count, open where they are outliers, crosses where they did not pass."""
    kinds: dict[str, list[tuple[int, Estimate]]] = {"run": [], "single outlier": [], "not passed": []}
    for i, one in enumerate(marked):
        if one.point.time:
            kind = "not passed" if one.point.timed is None else "single outlier" if one.mark.spike else "run"
            kinds[kind].append((i, one.point.time))
    looks = {
        "run": {"color": BLUE, "marker": "o"},
        "single outlier": {"color": BLUE, "marker": "o", "markerfacecolor": "white"},
        "not passed": {"color": GREY, "marker": "x"},
    }
    for kind, pairs in kinds.items():
        if pairs:
            middles = [time.median / scale for _, time in pairs]
            # One value has no interval.
            below = [max(time.median - time.low, 0.0) / scale if time.n > 1 else 0.0 for _, time in pairs]
            above = [max(time.high - time.median, 0.0) / scale if time.n > 1 else 0.0 for _, time in pairs]
            look = {"linestyle": "none", "markersize": 5, "elinewidth": 1, "capsize": 2, "label": kind, **looks[kind]}
            axes.errorbar([i for i, _ in pairs], middles, yerr=[below, above], **look)
    untimed = [i for i, one in enumerate(marked) if one.point.time is None]
    if untimed:
        foot = axes.get_xaxis_transform()
        axes.plot(untimed, [0.03] * len(untimed), "|", color=GREY, markersize=8, transform=foot, label="no time")


def _steps(axes: Any, marked: Sequence[Marked], scale: float) -> None:
    """Levels as lines, from the first to the last run that shares them without another in between, and steps as numbers."""
    fit = [(i, one) for i, one in enumerate(marked) if one.mark.level is not None]
    label: str | None = "level"
    for level, group in groupby(fit, key=lambda pair: (pair[1].mark.level or 0.0, pair[1].point.environment.key())):
        places = [i for i, _ in group]
        ends = [places[0] - 0.4, places[-1] + 0.4]
        axes.plot(ends, [level[0] / scale] * 2, color=LEVEL, linewidth=2, zorder=3, label=label, gid="level")
        label = None
    for i, one in fit:
        if one.mark.step is not None and one.point.time:
            # The number reaches over its neighbours to the right: it stands above all of their intervals.
            beside = marked[i : i + 1 + len(marked) // 10]
            top = max(one.mark.level or 0.0, *(near.point.time.high for near in beside if near.point.time)) / scale
            said = {"textcoords": "offset points", "fontsize": SMALL, "color": LEVEL, "ha": "left", "va": "bottom"}
            axes.annotate(f"{100 * one.mark.step:+.1f} %", (i - 0.4, top), (0, 5), annotation_clip=False, **said)
    axes.margins(x=0.03, y=0.16)


def _tiers(marked: Sequence[Marked]) -> int:
    """Lines of text above the panel."""
    return min(len(_changed(marked)), _TIERS)


def _changed(marked: Sequence[Marked]) -> list[tuple[int, tuple[str, ...]]]:
    return [(i, one.mark.changed) for i, one in enumerate(marked) if i and one.mark.changed]


def _changes(axes: Any, marked: Sequence[Marked]) -> None:
    """Dashed lines where the environment changed, and what it was above the panel."""
    places = _changed(marked)
    top = axes.get_xaxis_transform()
    for number, (i, changed) in enumerate(places):
        axes.axvline(i - 0.5, color=GREY, linestyle="--", linewidth=1)
        right = i > 0.6 * len(marked)
        said = {"fontsize": SMALL, "color": GREY, "ha": "right" if right else "left", "va": "bottom"}
        # The dashed line goes on to the corner of its own text.
        stem = {"arrowstyle": "-", "linestyle": "--", "color": GREY, "relpos": (int(right), 0), "shrinkA": 0, "shrinkB": 0}
        place = (0, 2 + _TIER * (number % _TIERS))
        axes.annotate(_shortly(changed), (i - 0.5, 1.0), place, top, "offset points", stem, **said)


def _shortly(changed: Sequence[str]) -> str:
    text = ", ".join(changed)
    return fitted(text if len(text) <= 60 else ", ".join(one.split(" ", 1)[0] for one in changed), 0.6 * _W, SMALL)


def _runs_axis(axes: Any, marked: Sequence[Marked]) -> None:
    """Runs stand evenly spaced, as they follow each other: dates with ten runs and months without one stay legible."""
    every = max(math.ceil(len(marked) / _MOST_TICKS), 1)
    ticks = range(0, len(marked), every)
    names = [f"{_date(marked[i].point.started)}\n{plain(marked[i].point.environment.commit or '')[:7]}" for i in ticks]
    axes.set_xticks(list(ticks), names, fontsize=SMALL)
    axes.set_xlim(-0.7, len(marked) - 0.3)
    axes.grid(axis="y", color=GRID, linewidth=0.7)


def _date(started: str) -> str:
    try:
        return f"{datetime.fromisoformat(started):%Y-%m-%d}"
    except ValueError:
        return plain(started[:10])
