"""Cases as points: colour and shape say the category, how a point is filled says what its time is worth."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from ...results import Result
from .paper import key
from .style import BLACK, GREY, YELLOW, Look, looks

Kind = Literal["counts", "launches", "does not count", "wrong"]
#: Where a case stands in a panel, were it to take so many seconds.
Place = Callable[[Result, float], tuple[float, float]]

_DARK_YELLOW = "#8A7F00"
#: How the points of each kind are explained.
KINDS: dict[Kind, str] = {
    "counts": "counts",
    "launches": "half: floor-bound",
    "does not count": "hollow: not counted",
    "wrong": "crossed: invalid",
}


def timed(found: Iterable[Result]) -> list[Result]:
    """Those with a time that can be drawn on a logarithmic axis, and with bytes to be held against it."""
    return [one for one in found if _drawable(one)]


def untimed(found: Iterable[Result]) -> list[Result]:
    """All others."""
    return [one for one in found if not _drawable(one)]


def _drawable(one: Result) -> bool:
    work = one.measurement.work
    return one.seconds is not None and 0 < one.seconds < math.inf and work is not None and work.bytes > 0


def kind_of(one: Result) -> Kind:
    """What a time is worth."""
    if not one.measurement.ok:
        return "wrong"
    if not one.counts:
        return "does not count"
    return "launches" if one.floor_bound else "counts"


def counted_out(shown: Sequence[Result]) -> list[str]:
    """A sentence for each kind of mark beside the plain one: how many there are, and why."""
    kinds = [kind_of(one) for one in shown]
    why = Counter(_why(one) for one, kind in zip(shown, kinds, strict=True) if kind in ("does not count", "wrong"))
    said = []
    if why:
        reasons = ", ".join(f"{count} {reason}" for reason, count in why.most_common())
        crossed = "; crossed where it is invalid or wrong" if "wrong" in kinds else ""
        said.append(f"Hollow, where a case does not count: {reasons}{crossed}.")
    if "launches" in kinds:
        said.append(f"Half filled: {kinds.count('launches')} floor-bound, whose time is that of launches and not of the kernel.")
    return said


def _why(one: Result) -> str:
    status = one.measurement.status
    return "from a warm cache" if status == "passed" and one.measurement.cold is False else status.replace("_", " ")


def size_of(count: int) -> float:
    """Points of a mark's width, so that many stay apart."""
    return next((size for most, size in ((60, 6.5), (200, 5.5), (600, 4.6)) if count <= most), 3.8)


def look_of(kind: Kind, look: Look, size: float) -> dict[str, Any]:
    """What a line of such marks is drawn with."""
    style = {"marker": look.marker, "markersize": size, "linestyle": "none"}
    if kind == "counts":
        return {**style, "markerfacecolor": look.colour, "markeredgecolor": BLACK, "markeredgewidth": 0.35, "alpha": 0.85}
    if kind == "launches":
        half = {"fillstyle": "left", "markerfacecolor": look.colour, "markerfacecoloralt": "white"}
        return {**style, **half, "markeredgecolor": look.colour, "markeredgewidth": 0.6}
    # An open shape in yellow would not be seen on white.
    edge = _DARK_YELLOW if look.colour == YELLOW else look.colour
    return {**style, "markerfacecolor": "none", "markeredgecolor": edge, "markeredgewidth": 0.9}


def draw_marks(axes: Any, shown: Sequence[Result], place: Place, size: float) -> None:
    """Every case a point, with a bar from end to end of its interval where it has one. `place`: at (case, seconds)."""
    from matplotlib.collections import LineCollection

    bars = [[place(one, seconds) for seconds in one.interval] for one in shown if one.interval]
    axes.add_collection(LineCollection(bars, colors=GREY, linewidths=0.8, zorder=2, gid="intervals"), autolim=False)
    groups: dict[tuple[str, Kind], list[Result]] = {}
    for one in shown:
        groups.setdefault((one.category, kind_of(one)), []).append(one)
    styles = looks(one.category for one in shown)
    for (category, kind), group in groups.items():
        x, y = zip(*(place(one, one.seconds or math.nan) for one in group), strict=True)
        # What counts lies above what does not.
        order = 3.5 if kind == "counts" else 3.0
        axes.plot(x, y, **look_of(kind, styles[category], size), zorder=order, gid="cases", label=f"_{category}")
        if kind == "wrong":
            axes.plot(x, y, "x", color=BLACK, markersize=0.8 * size, markeredgewidth=0.7, zorder=3.6, gid="wrong")


def kind_keys(shown: Sequence[Result]) -> list[Any]:
    """Entries of a legend for the kinds that there are."""
    present = {kind_of(one) for one in shown}
    look = Look(colour=GREY, marker="o")
    keys = []
    for kind, words in KINDS.items():
        if kind in present:
            cross = {"marker": "x", "color": BLACK, "markeredgecolor": BLACK, "markeredgewidth": 1.0}
            keys.append(key(look, words, **(cross if kind == "wrong" else look_of(kind, look, 6.0))))
    return keys
