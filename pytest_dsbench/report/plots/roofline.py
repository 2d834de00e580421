"""The roofline of one device: every timed case under the roofs of its data sheet.

Source: Williams, Waterman, Patterson, "Roofline", CACM 2009.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...hardware.sheet import Hardware
from ...record import Record
from ...results import Device, Result
from ...units import show_number, show_rate
from .lettering import fitted, stacked, width_of
from .marks import counted_out, draw_marks, kind_keys, size_of, timed, untimed
from .origin import files, used, when
from .paper import Page, key, page
from .scale import log_axis, span
from .strip import ROW, bandwidth_strip, rows_of
from .style import BLACK, GREY, PALE, SMALL, looks, styled

#: Inches: the panel, and what stands beside it.
_WIDTH, _LEFT, _PANEL, _HEIGHT, _FLOOR = 11.0, 1.2, 6.2, 5.0, 0.55
_GAP = SMALL * 1.25 / 72


class Roof(Record):
    """The units of one peak: they share a line."""

    units: tuple[str, ...]
    #: FLOP/s
    peak: float
    #: FLOP per byte above which it binds
    ridge: float
    #: whether a case that is drawn uses one of them
    used: bool

    @property
    def label(self) -> str:
        """Such as "fp8, int8 4500 TFLOP/s"."""
        return f"{', '.join(self.units)}  {show_rate(self.peak, 'FLOP/s')}"


def roofs(hardware: Hardware, shown: Sequence[Result]) -> list[Roof]:
    """The roofs of a sheet from the lowest to the highest."""
    busy = {unit for one in shown if one.measurement.work for unit, count in one.measurement.work.flop.items() if count}
    by_peak: dict[float, list[str]] = {}
    for unit, peak in hardware.peak.items():
        by_peak.setdefault(peak, []).append(unit)
    return [
        Roof(units=tuple(units), peak=peak, ridge=peak / hardware.bandwidth, used=bool(busy & set(units)))
        for peak, units in sorted(by_peak.items())
    ]


@styled
def roofline(device: Device) -> Any:
    """The figure; None where no case of the device was timed."""
    shown = timed(device.latest)
    if not shown:
        return None
    above = [one for one in shown if one.intensity]
    idle = [one for one in shown if not one.intensity]
    found, rows = roofs(device.hardware, above), rows_of(idle)
    strip = ROW * len(rows) + 0.65 if rows else 0.0
    paper = _paper(device, shown, (_WIDTH, _HEIGHT + _FLOOR + strip))
    axes = paper.axes(_LEFT, strip + _FLOOR, _PANEL, _HEIGHT, label="roofline")
    _scales(axes, device.hardware, found, above)
    _roof_lines(axes, paper, strip + _FLOOR, device.hardware, found, above)
    draw_marks(axes, above, _place, size_of(len(shown)))
    if rows:
        bandwidth_strip(paper.axes(_LEFT + 0.65, 0.5, _PANEL - 0.65, ROW * len(rows), label="without FLOP"), rows, len(shown))
    _legend(paper, shown, strip + _FLOOR + _HEIGHT)
    return paper.figure


def _paper(device: Device, shown: Sequence[Result], body: tuple[float, float]) -> Page:
    sources = used(device, shown)
    subtitle = f"{len(shown)} cases with a time · {when(sources)}"
    return page(f"Roofline of {device.title} ({device.key})", subtitle, _notes(device, shown), files(sources), body)


def _notes(device: Device, shown: Sequence[Result]) -> list[str]:
    """What a reader has to know of the marks, a sentence each."""
    rest = untimed(device.latest)
    bare = sum(one.interval is None for one in shown)
    still = sum(not one.intensity for one in shown)
    said = ["Drawn is the newest time of each case and provider."]
    if rest:
        counts = Counter(one.measurement.status.replace("_", " ") for one in rest)
        said.append(f"{len(rest)} more have no time: {', '.join(f'{count} {why}' for why, count in counts.most_common())}.")
    if bare:
        said.append(f"Without an error bar, since a single time has no interval: {'all' if bare == len(shown) else bare}.")
    if still:
        said.append(f"Without any FLOP: {still}, which stand below by their share of the bandwidth.")
    notes = [" ".join(said), *counted_out(shown)]
    last = device.hardware
    sheets = [source.header.hardware for source in used(device, shown)]
    several = any((one.peak, one.bandwidth) != (last.peak, last.bandwidth) for one in sheets)
    again = "; the roofs differ from run to run, and those of the last one are drawn" if several else ""
    return [*notes, f"Roofs: {device.hardware.source}{again}."]


def _place(one: Result, seconds: float) -> tuple[float, float]:
    """Intensity, and FLOP/s at another time."""
    work = one.measurement.work
    return (work.intensity, work.flops / seconds) if work else (math.nan, math.nan)


def _scales(axes: Any, hardware: Hardware, found: Sequence[Roof], shown: Sequence[Result]) -> None:
    ends = [found[0].ridge, found[-1].ridge] if found else [1.0]
    x = span([*ends, *(one.intensity or 1.0 for one in shown)], 2.5, 100.0)
    tops = [one.peak for one in found] or [hardware.bandwidth]
    y = span([*tops, *(one.flop_rate or 1.0 for one in shown)], 2.2, 1000.0)
    log_axis(axes.xaxis, *x, _plain_number)
    log_axis(axes.yaxis, *y, lambda value: show_rate(value, "FLOP/s"))
    axes.set_xlabel("arithmetic intensity, FLOP/B")
    axes.set_ylabel("FLOP/s of the case")


def _plain_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _roof_lines(
    axes: Any, paper: Page, bottom: float, hardware: Hardware, found: Sequence[Roof], shown: Sequence[Result]
) -> None:
    """The memory slope, and every roof from its ridge point to the right, named there."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    inch = _HEIGHT / math.log10(high / low)
    places = [math.log10(one.peak / low) * inch for one in found]
    room = _HEIGHT + 0.1
    labels, ridges = stacked(places, _GAP, room), stacked([one + 0.02 for one in places], _GAP, room + 0.1)
    corner = found[-1].ridge if found else right
    axes.plot([left, corner], [left * hardware.bandwidth, corner * hardware.bandwidth], color=BLACK, linewidth=1.6, gid="slope")
    for one, place, label, ridge in zip(found, places, labels, ridges, strict=True):
        colour, width, style = (BLACK, 1.6, "-") if one.used else (PALE, 0.9, "--")
        axes.plot([one.ridge, right], [one.peak, one.peak], color=colour, linewidth=width, linestyle=style, gid="roof")
        axes.plot([one.ridge], [one.peak], "o", color="white", markeredgecolor=colour, markersize=4.5, zorder=4, gid="ridge")
        beside = {"fontsize": SMALL, "va": "center", "color": BLACK if one.used else GREY}
        x, y = _LEFT + _PANEL, bottom
        paper.text(x + 0.2, y + label, fitted(one.label, 1.5, SMALL), gid="roof label", **beside)
        axes.annotate(
            "",
            (1.0, place / _HEIGHT),
            (1.0 + 0.17 / _PANEL, label / _HEIGHT),
            xycoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0},
        )
        across = math.log10(one.ridge / left) / math.log10(right / left) * _PANEL
        said = f"{show_number(one.ridge)} FLOP/B"
        paper.text(_LEFT + across - 0.09, bottom + ridge, said, ha="right", gid="ridge label", **{**beside, "va": "bottom"})
    corners = [math.log10(one.ridge / left) / math.log10(right / left) * _PANEL for one in found]
    _slope_label(axes, paper, bottom, hardware, corners, shown)


def _slope_label(
    axes: Any, paper: Page, bottom: float, hardware: Hardware, corners: Sequence[float], shown: Sequence[Result]
) -> None:
    """The bandwidth along the slope, between the ridge points (`corners`, in inches), where it covers the fewest points."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    across, up = _PANEL / math.log10(right / left), _HEIGHT / math.log10(high / low)
    text = f"memory  {show_rate(hardware.bandwidth, 'B/s')}"
    turn = math.atan2(up, across)
    length = width_of(text, SMALL)
    first = max(math.log10(low / hardware.bandwidth / left), 0.0) * across + 0.12
    # Inches along the slope, from where it meets the left edge, and above it.
    offset = math.log10(left * hardware.bandwidth / low) * up
    points = [
        (math.log10((one.intensity or 1.0) / left) * across, math.log10((one.flop_rate or 1.0) / low) * up - offset)
        for one in shown
    ]
    turned = [(x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)) for x, y in points]

    def covered(x: float) -> int:
        start = x / math.cos(turn)
        return sum(start - 0.05 < along < start + length + 0.05 and -0.03 < above < 0.25 for along, above in turned)

    def free(x: float) -> bool:
        end = x + length * math.cos(turn)
        return end < max(corners, default=_PANEL) and not any(x - 0.1 < corner < end + 0.35 for corner in corners)

    steps = [first + 0.15 * i for i in range(60)]
    x = min(filter(free, steps), key=covered, default=first)
    y = offset + x * math.tan(turn)
    style = {"rotation": math.degrees(turn), "rotation_mode": "anchor", "fontsize": SMALL, "va": "bottom", "gid": "slope label"}
    paper.text(_LEFT + x - 0.04, bottom + y + 0.04, text, **style)


def _legend(paper: Page, shown: Sequence[Result], top: float) -> None:
    found = looks(one.category for one in shown)
    counts = Counter(one.category for one in shown)
    handles = [key(look, f"{name.replace('_', ' ')} ({counts[name]})") for name, look in found.items()]
    x = _LEFT + _PANEL + 1.8
    paper.legend(x, top - 0.1, handles, title="category (cases)", alignment="left", title_fontproperties={"size": SMALL})
    kinds = kind_keys(shown)
    if len(kinds) > 1:
        paper.legend(x, top - 0.45 - 0.172 * len(handles), kinds)
