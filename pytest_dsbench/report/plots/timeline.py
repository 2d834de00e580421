"""The schedule of one layer as a picture: what the kernels and the network do beside each other, and where one waits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...record import Record
from ...units import show_seconds, show_share
from ..serving import words
from ..serving.period import Period, period
from .lettering import width_of
from .paper import Page, page
from .style import BLACK, FOOT, GREY, MARGIN, ORANGE, PALE, SKY, SMALL, TEXT, styled
from .write import checked, save_as

if TYPE_CHECKING:
    from ...serving.estimate import Estimate
    from ...serving.schedule import Span

#: Inches: the page, the names of the lanes, the axes, a lane and the share of it that its bars have.
_WIDTH, _LEFT, _PANEL, _LANE, _BAR = 12.0, 1.15, 10.6, 1.05, 0.8
#: Of the axis below, and of the words above the lanes.
_BELOW, _ABOVE = 0.55, 0.5
#: Room around a word, and what a line of the smallest letters takes.
_PAD, _LINE = 0.07, FOOT * 1.3 / 72

#: Micro-batches: their colours differ, and one is hatched, for grey print.
_LOOKS: tuple[dict[str, Any], ...] = ({"facecolor": SKY}, {"facecolor": ORANGE, "hatch": "///"})


def draw(found: "Estimate", path: Path) -> None:
    """Draws one layer in the steady state to a .png or .svg. Raises Mistake where that cannot be written."""
    checked(path, "--timeline")
    save_as(timeline(found), path, "--timeline")


@styled
def timeline(found: "Estimate") -> Any:
    """The figure."""
    shown, given = period(found), found.configuration
    sheet = _Sheet(shown=shown, policy=given.policy)
    lanes = len(shown.lanes)
    paper = page(
        _title(found, shown),
        f"{words.layout(given)} · {words.load(given, found.context)}",
        _notes(sheet),
        _ORIGIN,
        (_WIDTH, _BELOW + lanes * _LANE + _ABOVE),
    )
    axes = paper.axes(_LEFT, _BELOW, _PANEL, lanes * _LANE, label="timeline")
    axes.set_xlim(0.0, shown.seconds * 1e6)
    axes.set_ylim(lanes, 0.0)
    for row, lane in enumerate(shown.lanes):
        _lane(paper, axes, sheet, lane, row)
    _windows(axes, shown)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"time from the start of the {words.kind(shown.section)}, us")
    _legend(paper, shown, given.policy, _BELOW + lanes * _LANE + _ABOVE)
    return paper.figure


_ORIGIN = "computed by dsbench serve, not measured as a whole; --explain says where each time comes from"


class _Sheet(Record):
    """What is drawn, and how large: words are placed in inches."""

    shown: Period
    policy: str

    def inches(self, seconds: float) -> float:
        return _PANEL * seconds / self.shown.seconds

    def said(self, span: "Span") -> bool:
        """Whether a bar tells its name and its time."""
        label = self.label(span)
        return label is not None and label.text.endswith(show_seconds(span.seconds))

    def label(self, span: "Span") -> "_Label | None":
        """How the name of a bar fits into it, upright or turned; None where it does not."""
        name, took = words.whose(span.part, span.micro, self.policy), show_seconds(span.seconds)
        wide, high = self.inches(span.seconds) - _PAD, _LANE * _BAR - _PAD
        for text, size, turned in (
            *((f"{name}\n{took}", size, False) for size in (TEXT, SMALL, FOOT)),
            *((text, FOOT, True) for text in (f"{name}\n{took}", f"{name} {took}", name)),
        ):
            lines = text.split("\n")
            along, across = max(width_of(line, size) for line in lines), len(lines) * size * 1.3 / 72
            if (across <= wide and along <= high) if turned else (along <= wide and across <= high):
                return _Label(text=text, size=size, turned=turned)
        return None


class _Label(Record):
    text: str
    size: float
    turned: bool


def _title(found: "Estimate", shown: Period) -> str:
    both = ", two micro-batches" if found.configuration.policy == "dual" else ""
    return f"{words.title(found.configuration)}: one {words.kind(shown.section)}{both}, {show_seconds(shown.seconds)}"


def _notes(sheet: _Sheet) -> list[str]:
    both = sheet.policy == "dual"
    notes = [
        "Thick frames: what the layer takes its time from; what has a thin one is hidden behind them and costs nothing."
        " Strokes at the foot of a bar part its kernels."
        f"{' Behind the right end the next layer begins as at the left one.' if both else ''}"
    ]
    narrow = [span for spans in sheet.shown.lanes.values() for span in spans if not sheet.said(span)]
    times = {words.part(span.part): show_seconds(span.seconds) for span in narrow}
    if times:
        notes.append(f"Too narrow for all of their words: {', '.join(f'{name} {took}' for name, took in times.items())}.")
    if "network" not in sheet.shown.lanes:
        notes.append("The network carries nothing beside the kernels.")
    return notes


def _lane(paper: Page, axes: Any, sheet: _Sheet, lane: str, row: int) -> None:
    shown = sheet.shown
    middle = _BELOW + (len(shown.lanes) - row - 0.5) * _LANE
    paper.text(MARGIN, middle + 0.02, lane, fontsize=TEXT, fontweight="bold", va="bottom", gid="lane")
    paper.text(MARGIN, middle - 0.02, f"idle {show_share(shown.idle(lane))}", fontsize=SMALL, color=GREY, va="top", gid="share")
    for start, length in shown.gaps(lane):
        axes.barh(
            row + 0.5, length * 1e6, left=start * 1e6, height=_BAR, facecolor="none", edgecolor=PALE, linestyle=":", gid="idle"
        )
        _idle(axes, sheet, start, length, row)
    for span in shown.lanes[lane]:
        _bar(axes, sheet, span, row)


def _idle(axes: Any, sheet: _Sheet, start: float, length: float, row: int) -> None:
    room, turned = sheet.inches(length) - _PAD, False
    text = f"idle\n{show_seconds(length)}"
    if max(width_of(line, SMALL) for line in text.split("\n")) > room:
        text, turned = f"idle {show_seconds(length)}", True
        if room < _LINE:
            return
    look = {"fontsize": FOOT if turned else SMALL, "color": GREY, "ha": "center", "va": "center", "rotation": 90 if turned else 0}
    axes.text((start + length / 2) * 1e6, row + 0.5, text, gid="idle label", **look)


def _bar(axes: Any, sheet: _Sheet, span: "Span", row: int) -> None:
    exposed = span.part in sheet.shown.section.exposed
    look = _LOOKS[span.micro]
    edge = {"edgecolor": BLACK, "linewidth": 1.8 if exposed else 0.5, "zorder": 3 if exposed else 2.5}
    gid = f"{span.part} {span.micro}"
    axes.barh(row + 0.5, span.seconds * 1e6, left=span.start * 1e6, height=_BAR, gid=gid, clip_on=False, **look, **edge)
    _kernels(axes, sheet.shown, span, row)
    label = sheet.label(span)
    if label is not None:
        place = {"ha": "center", "va": "center", "rotation": 90 if label.turned else 0, "linespacing": 1.15}
        # On a patch of its own, so that no stroke crosses a letter.
        patch = {"facecolor": look["facecolor"], "edgecolor": "none", "pad": 1.0}
        axes.text(
            (span.start + span.seconds / 2) * 1e6,
            row + 0.5,
            label.text,
            fontsize=label.size,
            bbox=patch,
            gid="label",
            zorder=4,
            **place,
        )


def _kernels(axes: Any, shown: Period, span: "Span", row: int) -> None:
    """A short stroke at the foot of the bar between one kernel and the next."""
    end, foot = span.start, row + 0.5 + _BAR / 2
    terms: Sequence[Any] = [term for term in shown.section.terms if term.part == span.part]
    for term in terms[:-1]:
        end += term.seconds
        axes.plot([end * 1e6] * 2, [foot, foot - 0.12], color=BLACK, linewidth=0.6, zorder=3.2, gid="kernel")


def _windows(axes: Any, shown: Period) -> None:
    """A line at the end of each window, and how long it is above the lanes."""
    start = 0.0
    for end in shown.ends:
        if end < shown.seconds * (1 - 1e-9):
            axes.axvline(end * 1e6, color=GREY, linewidth=0.7, linestyle="--", zorder=1, gid="window")
        text = show_seconds(end - start)
        if width_of(text, SMALL) < _PANEL * (end - start) / shown.seconds:
            look = {"fontsize": SMALL, "color": GREY, "ha": "center", "va": "bottom", "clip_on": False}
            axes.text((start + end) / 2 * 1e6, -0.02, text, gid="window time", **look)
        start = end


def _legend(paper: Page, shown: Period, policy: str, top: float) -> None:
    from matplotlib.patches import Patch

    names = ("micro-batch A", "micro-batch B") if policy == "dual" else ("all sequences",)
    handles = [Patch(label=name, edgecolor=BLACK, linewidth=0.5, **look) for name, look in zip(names, _LOOKS, strict=False)]
    if any(shown.gaps(lane) for lane in shown.lanes):
        handles.append(Patch(label="idle", facecolor="none", edgecolor=PALE, linestyle=":"))
    paper.legend(_LEFT, top, handles, ncols=len(handles), columnspacing=1.5)
