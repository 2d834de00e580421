"""Scaling curves: the time of an operator along one of its dimensions, with T_SOL beside it."""

import math
from collections.abc import Sequence
from typing import Any

from ...results import Device, Result
from ...units import show_seconds
from .lettering import fitted, wrapped
from .marks import timed
from .origin import files, used, when
from .paper import Page, key, page
from .scale import log_axis, span
from .style import BLACK, KEY, SMALL, TEXT, Look, numbered, styled
from .sweeps import Sweep, chosen, sweeps

#: Panels at most, and in a row.
_MOST, _COLUMNS = 12, 3
#: Inches: a panel with its labels, the panel itself, and a line of the legend above.
_WIDE, _HIGH, _LEFT, _BOTTOM, _W, _H = 3.6, 2.85, 0.85, 0.62, 2.5, 1.6
_LEGEND = 0.2
#: Providers that are named.
_PROVIDERS = 15


@styled
def scaling(device: Device) -> Any:
    """The figure; None where no operator of the device was swept."""
    found = sweeps(timed(device.latest))
    shown = chosen(found, _MOST)
    if not shown:
        return None
    columns = min(_COLUMNS, max(len(shown), 2))
    rows, width = math.ceil(len(shown) / columns), columns * _WIDE + 0.2
    styles = numbered(sorted({name for one in shown for name in one.curves}))
    abreast = int((width - 0.4) / (KEY + 0.5))
    legend = 0.1 + _LEGEND * math.ceil((min(len(styles), _PROVIDERS) + 1) / abreast)
    paper = _paper(device, found, shown, (width, rows * _HIGH + legend))
    for i, sweep in enumerate(shown):
        column, row = i % columns, rows - 1 - i // columns
        place = column * _WIDE + _LEFT, row * _HIGH + _BOTTOM
        _panel(paper.axes(*place, _W, _H, label="sweep"), sweep, styles)
        _heading(paper, sweep, place[0] - 0.65, place[1] + _H)
    handles = [key(look, name) for name, look in list(styles.items())[:_PROVIDERS]]
    handles.append(key(Look(colour=BLACK, marker=""), "T_SOL", linestyle="--", linewidth=1.0))
    paper.legend(0.2, rows * _HIGH + legend + 0.05, handles, ncols=min(len(handles), abreast))
    return paper.figure


def _paper(device: Device, found: Sequence[Sweep], shown: Sequence[Sweep], body: tuple[float, float]) -> Page:
    results = [one for sweep in shown for curve in sweep.curves.values() for _, one in curve]
    sources = used(device, results)
    operators = len({one.operator for one in shown})
    subtitle = f"{len(shown)} sweeps of {operators} operators, {len(results)} times · {when(sources)}"
    title = f"Scaling on {device.title} ({device.key})"
    return page(title, subtitle, _notes(found, shown, results), files(sources), body)


def _heading(paper: Page, sweep: Sweep, x: float, top: float) -> None:
    """The operator and what is held, above its panel."""
    room, look = _WIDE - 0.25, {"va": "bottom", "gid": "heading"}
    first, *rest = wrapped(_fixed(sweep), room, SMALL) or [""]
    lines = [first, *([fitted(" ".join(rest), room, SMALL)] if rest else [])]
    for i, line in enumerate(reversed(lines)):
        paper.text(x, top + 0.08 + 0.14 * i, line, fontsize=SMALL, **look)
    y = top + 0.1 + 0.14 * len(lines)
    paper.text(x, y, fitted(sweep.operator, room, TEXT, True), fontsize=TEXT, fontweight="bold", **look)


def _notes(found: Sequence[Sweep], shown: Sequence[Sweep], results: Sequence[Result]) -> list[str]:
    notes = ["A sweep: cases of an operator that differ in one number alone. The band is the 95 % interval."]
    bare = sum(one.interval is None for one in results)
    if bare:
        notes.append(f"{'All' if bare == len(results) else bare} of the times are single ones without an interval and a band.")
    out = sum(not one.counts for one in results)
    if out:
        notes.append(f"Hollow: {out} that do not count, since they did not pass or are from a warm cache.")
    providers = {name for one in shown for name in one.curves}
    if len(providers) > _PROVIDERS:
        notes.append(f"{len(providers) - _PROVIDERS} more providers have no place among the words above.")
    if len(found) > len(shown):
        more = len(found) - len(shown)
        notes.append(f"{more} more sweeps are not drawn; the longest of each operator are, and some over ragged batches.")
    return notes


def _fixed(sweep: Sweep) -> str:
    """What is held, shortly."""
    return ", ".join(f"{name} {_word(value)}" for name, value in sweep.fixed.items())


def _word(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"{'+'.join(map(str, value[:4]))}{'+…' if len(value) > 4 else ''}" or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _panel(axes: Any, sweep: Sweep, styles: dict[str, Look]) -> None:
    every = [(value, one) for curve in sweep.curves.values() for value, one in curve]
    seconds = [end for _, one in every for end in (one.interval or ()) if end > 0]
    seconds += [time for _, one in every for time in (one.seconds, one.t_sol) if time]
    log_axis(axes.xaxis, *span([value for value, _ in every], 1.25, 2.0), _count, 6)
    log_axis(axes.yaxis, *span(seconds, 1.4), show_seconds, 6)
    axes.set_xlabel(fitted(sweep.dim, _W + 0.4, TEXT))
    bound = sorted({value: one.t_sol for value, one in every if one.t_sol}.items())
    if bound:
        axes.plot(*zip(*bound, strict=True), color=BLACK, linestyle="--", linewidth=1.0, gid="T_SOL")
    for provider, curve in sweep.curves.items():
        _curve(axes, curve, styles[provider])


def _curve(axes: Any, curve: Sequence[tuple[float, Result]], look: Look) -> None:
    x = [value for value, _ in curve]
    axes.plot(x, [one.seconds for _, one in curve], color=look.colour, linewidth=1.1, zorder=2.5, gid="time")
    ends = [one.interval or (one.seconds, one.seconds) for _, one in curve]
    axes.fill_between(x, *zip(*ends, strict=True), color=look.colour, alpha=0.25, linewidth=0, gid="band")
    for counts in (True, False):
        marks = [(value, one.seconds) for value, one in curve if one.counts == counts]
        if marks:
            face = look.colour if counts else "white"
            style = {"markerfacecolor": face, "markeredgecolor": look.colour if not counts else BLACK, "markeredgewidth": 0.5}
            axes.plot(*zip(*marks, strict=True), look.marker, markersize=4.2, zorder=3, gid="points", **style)


def _count(value: float) -> str:
    """A size as people write it: 4096, 16k, 1M."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}"
