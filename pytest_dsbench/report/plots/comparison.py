"""Two runs, or two devices, case by case: how much longer the second takes."""

import math
from collections.abc import Sequence
from typing import Any

from ...environment import differences
from ...record import Record
from ...results import Comparison, Device, Pair, Result, Source, compare
from ...units import show_number, show_seconds
from .lettering import fitted
from .origin import files, used, when
from .paper import Page, key, page
from .scale import log_axis
from .style import BLACK, BLUE, GREY, GRID, SMALL, Look, styled
from .style import VERMILION as SLOWER

#: Cases that are drawn one by one; of more than these, so many at each end.
_EVERY, _ENDS = 40, 20
#: Inches: the names of the cases, the panel, the panel of all ratios above it, a row.
_WIDTH, _LEFT, _PANEL, _ALL, _ROW = 11.0, 3.7, 4.7, 1.5, 0.2


class Side(Record):
    """One of the two."""

    #: a run file or a device
    name: str
    sources: tuple[Source, ...]
    results: tuple[Result, ...]


def of_run(source: Source) -> Side:
    """One run of a device."""
    return Side(name=source.name, sources=(source,), results=source.results)


def of_device(device: Device) -> Side:
    """The newest times on a device."""
    return Side(name=f"{device.title} ({device.key})", sources=tuple(used(device, device.latest)), results=device.latest)


def last_two(device: Device) -> tuple[Side, Side, Comparison] | None:
    """The newest run of a device against the newest before it that has a passed case in common; None where none has."""
    *earlier, last = device.sources
    for source in reversed(earlier):
        found = compare(source.results, last.results)
        if found.pairs:
            return of_run(source), of_run(last), found
    return None


@styled
def comparison(title: str, first: Side, second: Side, found: Comparison) -> Any:
    """The figure; None where they have no case in common."""
    pairs = sorted((pair for pair in found.pairs if 0 < pair.ratio < math.inf), key=lambda pair: -pair.ratio)
    if not pairs:
        return None
    many = len(pairs) > _EVERY
    groups = [pairs[:_ENDS], pairs[-_ENDS:]] if many else [pairs]
    gap, above = (0.3, _ALL + 0.5) if many else (0.0, 0.0)
    rows = sum(map(len, groups)) * _ROW + gap
    paper = page(title, *_words(first, second, found, pairs), (_WIDTH, rows + above + 1.1))
    axes = paper.axes(_LEFT, 0.5, _PANEL, rows, label="cases")
    axes.set_ylim(rows, 0.0)
    ends = [end for group in groups for pair in group for end in _interval(pair)]
    # Both panels share their ends, so that 1x stands above 1x.
    limits = _range([*ends, *(pair.ratio for pair in pairs)])
    log_axis(axes.xaxis, *limits, _factor, 8)
    places = [_ROW * (i + 0.5) for i in range(len(groups[0]))]
    if many:
        places += [places[-1] + gap + _ROW * (i + 1) for i in range(len(groups[1]))]
        paper.text(_LEFT - 0.1, 0.5 + rows - _ROW * _ENDS - gap / 2, f"… {len(pairs) - 2 * _ENDS} cases in between …", **_aside())
    drawn = [pair for group in groups for pair in group]
    _rows(axes, drawn, places)
    _columns(paper, drawn, [0.5 + rows - place for place in places], 0.5 + rows + 0.08)
    _directions(paper, axes, 0.5 + rows + 0.08)
    if many:
        _all_ratios(paper.axes(_LEFT, rows + 1.2, _PANEL, _ALL - 0.15, label="all"), pairs, limits)
    _legend(paper, drawn, rows + above + 1.1)
    return paper.figure


def _aside() -> dict[str, Any]:
    return {"fontsize": SMALL, "color": GREY, "ha": "right", "va": "center"}


def _words(first: Side, second: Side, found: Comparison, pairs: Sequence[Pair]) -> tuple[str, list[str], str]:
    """Subtitle, notes, and the files they are from."""
    clear = [pair for pair in pairs if pair.clear]
    slower = sum(pair.ratio > 1 for pair in clear)
    middle = f", median ratio {_ratio(found.middle)}" if found.middle else ""
    subtitle = f"{len(pairs)} cases{middle} · clearly slower: {slower}, clearly faster: {len(clear) - slower}"
    sides = [f"{place}: {side.name} · {when(side.sources)}" for place, side in (("First", first), ("Second", second))]
    notes = [*sides, *_notes(found, pairs)]
    places = [side.sources[-1].header for side in (first, second)]
    if places[0].hardware.name == places[1].hardware.name:
        changed = differences(places[0].environment, places[1].environment)
        notes += [f"Other things than the code differ: {', '.join(changed)}."] if changed else []
    return subtitle, notes, files([*first.sources, *second.sources])


def _notes(found: Comparison, pairs: Sequence[Pair]) -> list[str]:
    said = ["Filled: the 95 % intervals do not meet; hollow: they do, or there is none. The bar is what both intervals allow."]
    if found.by == "fastest":
        said.append("No provider is on both sides: each case is compared by its fastest provider on each side.")
    alone = [f"{n} of the {side}" for n, side in ((found.only_first, "first"), (found.only_second, "second")) if n]
    if alone:
        said.append(f"Passed cases without a partner on the other side: {', '.join(alone)}.")
    bare = sum(pair.first.interval is None or pair.second.interval is None for pair in pairs)
    if bare:
        said.append(f"{'None' if bare == len(pairs) else len(pairs) - bare} of the cases have an interval on both sides.")
    return said


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The ends of the axis: 1 and all values, with room for the marks."""
    low, high = min(1.0, *values), max(1.0, *values)
    room = max((high / low) ** 0.04, 1.03)
    return low / room, high * room


def _ratio(value: float) -> str:
    """Such as "1.25x", or "1/2500" of what is very small."""
    return f"{show_number(value)}x" if value >= 0.01 else f"1/{show_number(1 / value)}"


def _interval(pair: Pair) -> tuple[float, float]:
    """The smallest and largest ratio that both intervals allow; the ratio itself where one is missing."""
    one, other = pair.first.interval, pair.second.interval
    if one is None or other is None or min(*one, *other) <= 0:
        return pair.ratio, pair.ratio
    return other[0] / one[1], other[1] / one[0]


def _factor(value: float) -> str:
    return f"{value:g}x" if value >= 0.01 else f"1/{1 / value:g}"


def _colour(pair: Pair) -> str:
    return SLOWER if pair.ratio > 1 else BLUE


def _rows(axes: Any, drawn: Sequence[Pair], places: Sequence[float]) -> None:
    """A line from 1 to the ratio of each case, with a mark at its end and the interval across it."""
    for pair, y in zip(drawn, places, strict=True):
        colour = _colour(pair)
        axes.plot([1.0, pair.ratio], [y, y], color=colour, linewidth=2.2, alpha=0.45, solid_capstyle="butt", gid="change")
        axes.plot(_interval(pair), [y, y], color=BLACK, linewidth=0.8, gid="interval")
        marker = "^" if pair.ratio > 1 else "v"
        face = colour if pair.clear else "white"
        axes.plot([pair.ratio], [y], marker, color=face, markeredgecolor=colour, markersize=5.5, zorder=4, gid="ratio")
    axes.axvline(1.0, color=BLACK, linewidth=1.2)
    axes.set_yticks(places, [fitted(_name(pair), _LEFT - 0.35, SMALL) for pair in drawn])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("time of the second over that of the first")


def _name(pair: Pair) -> str:
    one, other = pair.first.case, pair.second.case
    if one.provider == other.provider:
        return one.name
    return f"{one.name.removesuffix(one.provider)}{one.provider} / {other.provider}"


def _columns(paper: Page, drawn: Sequence[Pair], places: Sequence[float], top: float) -> None:
    columns = [_LEFT + _PANEL + offset for offset in (0.75, 1.45, 2.05)]
    for x, head in zip(columns, ("first", "second", "ratio"), strict=True):
        paper.text(x, top, head, fontsize=SMALL, ha="right", va="bottom", color=GREY)
    for pair, y in zip(drawn, places, strict=True):
        times = [show_seconds(one.seconds or math.nan) for one in (pair.first, pair.second)]
        for x, text in zip(columns, (*times, _ratio(pair.ratio)), strict=True):
            paper.text(x, y, text, fontsize=SMALL, ha="right", va="center", gid="number")


def _directions(paper: Page, axes: Any, y: float) -> None:
    left, right = axes.get_xlim()
    middle = _LEFT + _PANEL * math.log(1.0 / left) / math.log(right / left)
    for x, text, colour, side, room in (
        (middle - 0.08, "← the second is faster", BLUE, "right", middle - _LEFT),
        (middle + 0.08, "the second is slower →", SLOWER, "left", _LEFT + _PANEL - middle),
    ):
        if room > 0.25:
            short = text if room > 1.6 else text.replace("the second is ", "")
            paper.text(x, y, short, fontsize=SMALL, color=colour, ha=side, va="bottom", gid="direction")


def _all_ratios(axes: Any, pairs: Sequence[Pair], limits: tuple[float, float]) -> None:
    """How many of all cases are below each ratio."""
    ratios = sorted(pair.ratio for pair in pairs)
    shares = [(i + 1) / len(ratios) for i in range(len(ratios))]
    log_axis(axes.xaxis, *limits, _factor, 8)
    axes.step(ratios, shares, where="post", color=BLACK, linewidth=1.2, gid="all ratios")
    axes.axvline(1.0, color=BLACK, linewidth=1.2)
    axes.fill_between(ratios, shares, step="post", color=GRID, linewidth=0)
    axes.set_ylim(0.0, 1.02)
    axes.set_yticks([0.0, 0.5, 1.0], ["0 %", "50 %", "100 %"])
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_ylabel(f"share of {len(ratios)} cases\nat or below", fontsize=SMALL)


def _legend(paper: Page, drawn: Sequence[Pair], top: float) -> None:
    handles = [
        key(Look(colour=colour, marker=marker), words, markeredgecolor=colour, markerfacecolor=colour if clear else "white")
        for colour, marker, clear, words in (
            (SLOWER, "^", True, "slower, clearly"),
            (SLOWER, "^", False, "slower, not clearly"),
            (BLUE, "v", True, "faster, clearly"),
            (BLUE, "v", False, "faster, not clearly"),
        )
        if any((pair.ratio > 1, pair.clear) == (marker == "^", clear) for pair in drawn)
    ]
    paper.legend(_LEFT, top, handles, ncols=len(handles), columnspacing=1.2)
