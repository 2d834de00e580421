"""Efficiency by operator: a bar as long as the median and as thick as the operator is important."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from statistics import median
from typing import Any

from ...record import Record
from ...results import Device, Result
from ...units import show_share
from .lettering import fitted
from .origin import files, used, when
from .paper import Page, key, page
from .style import BLACK, GREY, GRID, PALE, SMALL, looks, numbered, styled

#: Inches: the page, the names, the bars, a row at least; the thickest bar, one without an importance, the thinnest to be seen.
_WIDTH, _LEFT, _BARS, _ROW, _THICKEST, _THIN, _LEAST = 11.0, 2.3, 4.5, 0.2, 0.8, 0.03, 0.012
#: Efficiencies above this are drawn at the edge.
_MOST = 1.3
#: More providers than this are not told apart.
_PROVIDERS = 8


class Operator(Record):
    """The efficiencies of one operator, each case by its fastest provider."""

    name: str
    category: str
    #: as published
    importance: float | None
    efficiencies: tuple[float, ...]
    #: how many of them are from times of launches
    floor_bound: int
    #: median efficiency by provider, over the cases that it ran
    providers: dict[str, float]

    @property
    def median(self) -> float:
        """What the bar shows."""
        return median(self.efficiencies)


def by_operator(found: Iterable[Result]) -> list[Operator]:
    """The operators with a case that counts, from the highest median to the lowest; as in a score, but of all cases."""
    groups: dict[str, list[Result]] = {}
    for one in found:
        if one.counts:
            groups.setdefault(one.case.operator, []).append(one)
    return sorted((_operator(name, group) for name, group in groups.items()), key=lambda one: (-one.median, one.name))


def _operator(name: str, group: Sequence[Result]) -> Operator:
    best: dict[str, Result] = {}
    by_provider: dict[str, list[float]] = {}
    for one in group:
        by_provider.setdefault(one.case.provider, []).append(_share(one))
        known = best.get(one.case.shape)
        if known is None or _share(one) > _share(known):
            best[one.case.shape] = one
    return Operator(
        name=name,
        category=group[0].category,
        importance=next((one.case.importance for one in group if one.case.importance is not None), None),
        efficiencies=tuple(sorted(map(_share, best.values()))),
        floor_bound=sum(one.floor_bound for one in best.values()),
        providers={provider: median(shares) for provider, shares in sorted(by_provider.items())},
    )


def _share(one: Result) -> float:
    return one.efficiency or 0.0


@styled
def efficiency(device: Device) -> Any:
    """The figure; None where no case of the device counts."""
    found = by_operator(device.latest)
    if not found:
        return None
    thick = _thicknesses(found)
    rows = [max(_ROW, one + 0.05) for one in thick]
    height = sum(rows)
    ends = list(accumulate(rows))
    middles = [end - row / 2 for end, row in zip(ends, rows, strict=True)]
    paper = _paper(device, found, (_WIDTH, height + 0.75))
    axes = paper.axes(_LEFT, 0.5, _BARS, height, label="efficiency")
    axes.set_ylim(height, 0.0)
    _scale(axes, found, middles)
    colours = looks(one.category for one in found)
    for one, middle, thickness in zip(found, middles, thick, strict=True):
        _bar(axes, one, middle, thickness, colours[one.category].colour)
    shown = _providers(axes, found, middles)
    _beside(paper, found, [height + 0.5 - middle for middle in middles], height + 0.6)
    _legend(paper, found, shown, height + 0.5)
    return paper.figure


def _thicknesses(found: Sequence[Operator]) -> list[float]:
    """Inches of each bar."""
    most = max((one.importance or 0.0 for one in found), default=0.0)
    return [max(_THICKEST * one.importance / most, _LEAST) if one.importance and most else _THIN for one in found]


def _paper(device: Device, found: Sequence[Operator], body: tuple[float, float]) -> Page:
    counted = [one for one in device.latest if one.counts]
    sources = used(device, counted)
    cases = sum(len(one.efficiencies) for one in found)
    title = f"Efficiency by operator on {device.title} ({device.key})"
    subtitle = f"{len(found)} operators, {cases} cases · {when(sources)}"
    out = sum(one.seconds is not None and not one.counts for one in device.latest)
    return page(title, subtitle, _notes(found, out), files(sources), body)


def _notes(found: Sequence[Operator], out: int) -> list[str]:
    """How to read it. `out`: cases with a time that does not count."""
    bare = sum(one.importance is None for one in found)
    said = ["A bar is the median of T_SOL / T over the cases that count, each by its fastest provider; a tick is a case."]
    if bare < len(found):
        said.append("Bars are as thick as the operator is important in production; the thinnest are drawn so that they are seen.")
    if bare:
        said.append(f"{bare} of {len(found)} operators have no importance: their bars are thin and grey.")
    notes = [" ".join(said)]
    if any(one.floor_bound for one in found):
        notes.append("Hatched: the share of cases that are floor-bound, whose time is that of launches and not of the kernel.")
    if any(len(one.providers) > 1 for one in found):
        notes.append("A mark is the median of one provider, over the cases that it ran: these need not be the same for all.")
    if out:
        notes.append(f"{out} cases with a time do not count (not passed, or from a warm cache) and are in no bar.")
    over = sum(one > _MOST for operator in found for one in operator.efficiencies)
    if over:
        notes.append(f"{over} cases are above {show_share(_MOST)}, which no device reaches; they stand at the edge.")
    names = {name for one in found for name in one.providers if len(one.providers) > 1}
    if len(names) > _PROVIDERS:
        notes.append(f"{len(names) - _PROVIDERS} more providers have no mark of their own.")
    return notes


def _scale(axes: Any, found: Sequence[Operator], middles: Sequence[float]) -> None:
    top = max(one.efficiencies[-1] for one in found)
    most = min(max(top * 1.02, 1.02), _MOST)
    ticks = [i / 5 for i in range(6)]
    axes.set_xlim(0.0, most)
    axes.set_xticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
    axes.set_yticks(middles, [fitted(one.name, _LEFT - 0.4, SMALL) for one in found])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.axvline(1.0, color=BLACK, linewidth=1.2)
    axes.set_xlabel("efficiency, T_SOL / T")


def _bar(axes: Any, one: Operator, middle: float, thickness: float, colour: str) -> None:
    face = colour if one.importance is not None else PALE
    length = min(one.median, _MOST)
    axes.barh(middle, length, thickness, color=face, alpha=0.75, gid="bar")
    if one.floor_bound:
        part = thickness * one.floor_bound / len(one.efficiencies)
        place = middle + thickness / 2 - part / 2
        axes.barh(place, length, part, color="none", edgecolor=BLACK, hatch="//////", linewidth=0.0, gid="floor-bound")
    axes.plot([length] * 2, [middle - 0.075, middle + 0.075], color=BLACK, linewidth=1.8, solid_capstyle="butt", gid="median")
    inside = [min(share, axes.get_xlim()[1]) for share in one.efficiencies]
    axes.plot([inside[0], inside[-1]], [middle, middle], color=GREY, linewidth=0.6, gid="range")
    marks = {"marker": "|", "linestyle": "none", "color": BLACK, "alpha": 0.55, "markersize": 5, "markeredgewidth": 0.7}
    axes.plot(inside, [middle] * len(inside), gid="cases", clip_on=False, **marks)


def _providers(axes: Any, found: Sequence[Operator], middles: Sequence[float]) -> dict[str, Any]:
    """The median of every provider as a mark, where operators were run by several."""
    names = sorted({name for one in found for name in one.providers if len(one.providers) > 1})[:_PROVIDERS]
    shown = numbered(names)
    for name, look in shown.items():
        places = [(one.providers[name], middle) for one, middle in zip(found, middles, strict=True) if name in one.providers]
        x, y = zip(*places, strict=True)
        style = {"marker": look.marker, "color": look.colour, "markeredgecolor": BLACK, "markeredgewidth": 0.4}
        axes.plot(x, y, linestyle="none", markersize=5, zorder=4, gid="provider", **style)
    return shown


def _beside(paper: Page, found: Sequence[Operator], places: Sequence[float], top: float) -> None:
    """Median, cases and importance in numbers."""
    columns = [_LEFT + _BARS + offset for offset in (0.65, 1.4, 2.1)]
    launches = any(one.floor_bound for one in found)
    heads = ("median", "cases (floor)" if launches else "cases", "importance")
    for x, head in zip(columns, heads, strict=True):
        paper.text(x, top, head, fontsize=SMALL, ha="right", va="bottom", color=GREY)
    for one, y in zip(found, places, strict=True):
        cases = f"{len(one.efficiencies)}{f' ({one.floor_bound})' if launches else ''}"
        importance = "-" if one.importance is None else f"{one.importance:.4f}"
        for x, text in zip(columns, (show_share(one.median), cases, importance), strict=True):
            paper.text(x, y, text, fontsize=SMALL, ha="right", va="center", gid="number")


def _legend(paper: Page, found: Sequence[Operator], providers: dict[str, Any], top: float) -> None:
    weighted = looks(one.category for one in found if one.importance is not None)
    square = {"marker": "s", "markeredgewidth": 0.0, "markersize": 7, "alpha": 0.75}
    handles = [key(look, name.replace("_", " "), **square) for name, look in weighted.items()]
    x = _LEFT + _BARS + 2.35
    if handles:
        head = {"title": "category", "alignment": "left", "title_fontproperties": {"size": SMALL}}
        paper.legend(x, top, handles, **head)
    if providers:
        marks = [key(look, f"{name}, its median") for name, look in providers.items()]
        paper.legend(x, top - 0.45 - 0.172 * len(handles), marks)
