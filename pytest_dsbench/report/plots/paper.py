"""The page that a picture stands on: what it shows above it, how to read it and where it comes from below."""

from collections.abc import Sequence
from typing import Any

from ...record import Record
from .lettering import fitted, wrapped
from .style import DPI, FOOT, GREY, KEY, LEADING, MARGIN, SMALL, TEXT, TITLE, Look


class Page(Record):
    """A figure with its heading, its notes and its footer. Places on it are in inches from the lower left of the body."""

    figure: Any
    width: float
    height: float
    #: of the body: inches above the foot of the figure
    bottom: float

    def axes(self, left: float, bottom: float, width: float, height: float, **more: Any) -> Any:
        """Axes at that place."""
        box = (left / self.width, (self.bottom + bottom) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box, **more)

    def text(self, x: float, y: float, text: str, **more: Any) -> Any:
        """A line of text at that place."""
        return self.figure.text(x / self.width, (self.bottom + y) / self.height, text, **more)

    def legend(self, x: float, y: float, handles: Sequence[Any], **more: Any) -> Any:
        """A legend whose upper left corner is at that place."""
        place = (x / self.width, (self.bottom + y) / self.height)
        look = {"loc": "upper left", "frameon": False, "fontsize": SMALL, "borderaxespad": 0.0, "handletextpad": 0.5}
        return self.figure.legend(handles=handles, bbox_to_anchor=place, **{**look, **more})


def page(title: str, subtitle: str, notes: Sequence[str], origin: str, body: tuple[float, float]) -> Page:
    """An empty page around a body of so many inches: title and subtitle above it, notes and where it comes from below."""
    from matplotlib.figure import Figure

    width, room = body[0], body[0] - 2 * MARGIN
    above = [(line, TITLE, {"fontweight": "bold"}) for line in wrapped(title, room, TITLE, bold=True)[:3]]
    above += [(line, TEXT, {"color": GREY}) for line in wrapped(subtitle, room, TEXT)]
    below: list[tuple[str, float, dict[str, Any]]] = [(line, SMALL, {}) for note in notes for line in wrapped(note, room, SMALL)]
    below += [(fitted(origin, room, FOOT), FOOT, {"color": GREY})]
    head, foot = (sum(size * LEADING / 72 for _, size, _ in lines) + 1.5 * MARGIN for lines in (above, below))
    height = head + body[1] + foot
    made = Page(figure=Figure(figsize=(width, height), dpi=DPI), width=width, height=height, bottom=foot)
    for lines, top in ((above, body[1] + head - 0.7 * MARGIN), (below, -0.6 * MARGIN)):
        for line, size, look in lines:
            made.text(MARGIN, top, line, fontsize=size, va="top", **look)
            top -= size * LEADING / 72
    return made


def key(look: Look, label: str, **more: Any) -> Any:
    """An entry of a legend: one mark and what it stands for."""
    from matplotlib.lines import Line2D

    shape = {"marker": look.marker, "color": look.colour, "markeredgecolor": "black", "markeredgewidth": 0.4, "markersize": 6}
    return Line2D([], [], label=fitted(label, KEY, SMALL), **{"linestyle": "none", **shape, **more})
