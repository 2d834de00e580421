"""The Pareto fronts of a search: tokens/s per GPU against tokens/s of a user, a line for each GPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...units import show_count, show_number
from ..serving.search import floor_words, headline
from .paper import Page, key, page
from .scale import log_axis, span
from .style import BLACK, GRID, SMALL, TEXT, Look, numbered, styled
from .write import checked, save_as

if TYPE_CHECKING:
    from ...serving.price.assumed import Assumed
    from ...serving.search.search import Found, Row

#: Inches: the body, and the axes in it.
_BODY, _AXES = (7.6, 4.3), (0.75, 0.55, 5.1, 3.6)
#: Above this spread an axis is logarithmic.
_SPREAD = 5.0
#: Points of a line that get a mark at most.
_MARKS = 24
#: Lines that are named.
_NAMED = 17


def draw(found: "Found", assumed: "Assumed", path: Path, runs: Sequence[Path] = ()) -> None:
    """Draws the fronts to a .png or .svg; `runs` gave efficiencies. Raises Mistake where that cannot be written."""
    checked(path, "--plot")
    save_as(fronts(found, assumed, runs), path, "--plot")


@styled
def fronts(found: "Found", assumed: "Assumed", runs: Sequence[Path] = ()) -> Any:
    """The figure."""
    rows = _lines(found)
    title, _, _ = headline(found).partition(", by the corrected model")
    tried = (
        f"{show_count(found.grid.size, 'configuration')} tried; no point of a line is beaten in both rates by another of its GPU"
    )
    paper = page(
        title, tried, _notes(found, assumed, runs), "computed by dsbench serve, not measured; the corrected model", _BODY
    )
    axes = paper.axes(*_AXES, label="fronts")
    looks = numbered(rows)
    for number, (name, line) in enumerate(rows.items()):
        _line(axes, line, looks[name], number)
    _scales(axes, [row for line in rows.values() for row in line], found)
    _legend(paper, list(looks.items())[:_NAMED], found)
    return paper.figure


def _lines(found: "Found") -> dict[str, "list[Row]"]:
    """The front of each GPU; GPUs whose lines would cover each other have one together."""
    names: dict[tuple[str, ...], list[str]] = {}
    for name, front in found.fronts.items():
        places = (found.values.user.flat[front], found.per_gpu.flat[front])
        if len(front):
            names.setdefault(tuple(f"{value:.3g}" for values in places for value in values), []).append(name)
    return {", ".join(alike): found.rows(found.fronts[alike[0]]) for alike in names.values()}


def _line(axes: Any, rows: "Sequence[Row]", look: Look, number: int) -> None:
    """Of many points some have a mark, of each line others."""
    every = max(-(-len(rows) // _MARKS), 1)
    axes.plot(
        [row.user for row in rows],
        [row.per_gpu for row in rows],
        color=look.colour,
        marker=look.marker,
        markevery=(number % every, every),
        markersize=4.5,
        markeredgecolor=BLACK,
        markeredgewidth=0.4,
        linewidth=1.2,
        gid="front",
    )


def _scales(axes: Any, rows: "Sequence[Row]", found: "Found") -> None:
    axes.set_xlabel("tokens/s of a user" if found.grid.decode else "tokens/s of a prompt", fontsize=TEXT)
    axes.set_ylabel("tokens/s per GPU", fontsize=TEXT)
    floor = [] if found.floor is None else [found.floor.user(rows[0].gained)]
    for axis, values in ((axes.xaxis, [*(row.user for row in rows), *floor]), (axes.yaxis, [row.per_gpu for row in rows])):
        if max(values) > _SPREAD * min(values):
            log_axis(axis, *span(values, 1.15), show_number, 8)
        else:
            (axes.set_xlim if axis is axes.xaxis else axes.set_ylim)(0, 1.08 * max(values))
            axes.grid(axis=axis.axis_name, color=GRID, linewidth=0.7)
    for value in floor:
        axes.axvline(value, color=BLACK, linestyle="--", linewidth=1.0, gid="floor")


def _legend(paper: Page, looks: Sequence[tuple[str, Look]], found: "Found") -> None:
    """Beside the axes, so that no line is under it."""
    handles = [key(look, name, linestyle="-") for name, look in looks]
    if found.floor is not None:
        handles.append(key(Look(colour=BLACK, marker=""), "floor", linestyle="--", linewidth=1.0))
    left, bottom, width, height = _AXES
    paper.legend(left + width + 0.15, bottom + height, handles, fontsize=SMALL)


def _notes(found: "Found", assumed: "Assumed", runs: Sequence[Path]) -> list[str]:
    grid = found.grid
    notes = [] if found.floor is None else [f"Floor: {floor_words(found.floor)}; what is left of it is too slow."]
    notes.append(_axes_in_words(found))
    bare = [gpu.name for gpu in grid.gpus if not len(found.fronts[gpu.name])]
    if bare:
        notes.append(f"Nothing fits on {', '.join(bare)}.")
    without = [gpu.name for gpu in grid.gpus if gpu.memory is None]
    if without:
        notes.append(f"The sheet of {', '.join(without)} has no memory; whether anything fits there was not checked.")
    changed = ", ".join(f"{name} = {assumed.values[name]}" for name in assumed.changed)
    measured = (
        f"Efficiencies of {', '.join(path.name for path in runs)}; all others assumed" if runs else "All efficiencies are assumed"
    )
    notes.append(f"{measured}: {f'changed: {changed}' if changed else 'the values that come with dsbench'}.")
    lines = len(_lines(found))
    if lines > _NAMED:
        notes.append(f"{lines - _NAMED} more lines have no place among the words beside them.")
    return notes


def _axes_in_words(found: "Found") -> str:
    grid = found.grid
    nics = " or ".join(nic.name for nic in grid.nics if nic is not None)
    eps = [split.ep for split in grid.splits if split is not None]
    words = {
        "NIC": nics,
        "EP": _ends(eps),
        "TP": _ends(grid.tps),
        "weights/cache": " or ".join(map(str, grid.precisions)),
        "policy": " or ".join(grid.policies),
        "MTP": _ends(grid.mtps),
        "batch": _ends(grid.batches),
    }
    return f"{', '.join(f'{name} {word}' for name, word in words.items() if word)}."


def _ends(values: Sequence[int]) -> str:
    """The numbers of an axis: all of few, else the first and the last."""
    if len(values) <= 4:
        return " or ".join(map(str, values))
    return f"{values[0]} to {values[-1]} ({len(values)})"
