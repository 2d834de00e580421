"""A layer profile as a picture: its rows one after the other, as a waterfall."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..mistake import Mistake
from ..profile.record import Profile, total
from ..profile.sums import explained, layer_sum
from ..profile.times import microseconds
from ..profile.waterfall import Bar, Place, bars, left, panels, places
from .plots.write import SUFFIXES

# From the palette of Okabe and Ito, which the colour-blind can tell apart; the hatches differ too, for print.
_LOOKS = (("#0072B2", ""), ("#E69F00", "//"), ("#009E73", "\\\\"), ("#CC79A7", "xx"), ("#56B4E9", ".."), ("#D55E00", "--"))
_GREY = "#6E6E6E"
#: Inches that the names of the rows take.
_NAMES = 3.6
#: Inches of a panel that stands alone; of several each is narrower.
_PANEL = 7.0
#: A device with few rows is a frame around the bars of the first one.
_FRAME: dict[str, Any] = {"facecolor": "none", "edgecolor": "black", "linewidth": 0.9, "linestyle": ":"}
#: What fonts for Chinese, Japanese and Korean are called where there are any.
_CJK = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "SimHei", "PingFang SC")


def plot(profile: Profile, path: Path) -> None:
    """Draws a panel per device that has half of the rows, to a .png or .svg. Raises Mistake where it cannot."""
    if path.suffix.lower() not in SUFFIXES:
        raise Mistake(f"--plot: {path} is not {' or '.join(SUFFIXES)}; the suffix of the file says what is drawn")
    from matplotlib.figure import Figure

    shown = list(bars(profile))
    devices = panels(profile, shown)
    beside = [device.name for device in profile.devices if device.name not in devices]
    open_ = {device: left(profile, device) > 0 for device in devices}
    first = devices[0]
    found = {device: places(shown, device, beside if device == first else [], open_[device]) for device in devices}
    width = _PANEL if len(devices) == 1 else _PANEL * 0.65
    height = 2.0 + 0.27 * (len(shown) + 1) + 0.2 * (len(profile.groups()) // 4)
    figure = Figure(figsize=(_NAMES + width * len(devices), height), dpi=120, layout="constrained")
    all_axes = figure.subplots(1, len(devices), sharex=True, sharey=True, squeeze=False)[0]
    for axes, device in zip(all_axes, devices, strict=True):
        _panel(axes, profile, shown, found[device], device)
    _rows_axis(all_axes[0], shown, any(open_.values()))
    all_axes[0].set_xlim(0, 1e6 * _room(profile, found, width))
    _legend(figure, profile, devices, beside)
    figure.suptitle(profile.title or profile.profile, fontsize=11, fontweight="bold")
    _readable(figure)
    try:
        figure.savefig(path)
    except OSError as error:
        raise Mistake(f"--plot: cannot write {path}: {error.strerror or error}") from None


def _panel(axes: Any, profile: Profile, some: Sequence[Bar], where: Sequence[Place], device: str) -> None:
    looks = dict(zip(profile.groups(), _cycled(len(profile.groups())), strict=True))
    for number, (bar, place) in enumerate(zip(some, where, strict=True)):
        if place.seconds is not None:
            _draw(axes, number, place, looks[bar.group], bar.hidden)
        for seconds in place.others:
            axes.barh(number, seconds * 1e6, left=place.left * 1e6, height=0.86, **_FRAME)
        said = {"fontsize": 7.5, "va": "center", "color": _GREY if place.seconds is None else "black"}
        axes.annotate(place.text, (place.right * 1e6, number), (4, 0), textcoords="offset points", **said)
    _published(axes, profile, device, len(some))
    axes.set_title(f"{device}: {_total(profile, device)}", loc="left", fontsize=9, pad=16)
    axes.set_xlabel(f"time from the start of the {profile.covers}, us", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="#E0E0E0", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _cycled(count: int) -> list[tuple[str, str]]:
    return [_LOOKS[number % len(_LOOKS)] for number in range(count)]


def _draw(axes: Any, number: int, place: Place, look: tuple[str, str], hidden: bool) -> None:
    seconds = place.seconds or 0.0
    axes.barh(number, seconds * 1e6, left=place.left * 1e6, height=0.62, linewidth=1.0 if hidden else 0.0, **_fill(look, hidden))
    if not hidden:
        axes.plot([(place.left + seconds) * 1e6] * 2, [number, place.following], color=_GREY, linewidth=0.5, zorder=0)


def _fill(look: tuple[str, str], hidden: bool) -> dict[str, Any]:
    colour, hatch = look
    return {"hatch": hatch, "facecolor": "white" if hidden else colour, "edgecolor": colour if hidden else "white"}


def _published(axes: Any, profile: Profile, device: str, number: int) -> None:
    """An open bar from the end of the rows to the published time of one layer."""
    found = explained(profile, device)
    if found is None:
        return
    each, end = found.stated.seconds / found.count, found.layer.seconds
    axes.axvline(each * 1e6, color=_GREY, linewidth=1, linestyle="--")
    if each > end:
        axes.barh(number, (each - end) * 1e6, left=end * 1e6, height=0.62, facecolor="none", edgecolor=_GREY, linestyle="--")
        said = {"textcoords": "offset points", "fontsize": 7.5, "va": "center", "ha": "right"}
        axes.annotate(f"not explained: {microseconds(round(each - end, 9))}", (end * 1e6, number), (-4, 0), **said)
    said = {"textcoords": "offset points", "fontsize": 7.5, "color": _GREY, "ha": "right", "va": "bottom"}
    text = f"published: {microseconds(round(each, 9))} per layer"
    axes.annotate(text, (each * 1e6, 1.0), (0, 2), ("data", "axes fraction"), **said)


def _total(profile: Profile, device: str) -> str:
    found = layer_sum(profile, device)
    if not found.untimed:
        return f"{microseconds(found.seconds)}, all {found.timed} rows"
    return (
        f"more than {microseconds(found.seconds)}, {len(found.untimed)} of {found.timed + len(found.untimed)} rows have no time"
    )


def _room(profile: Profile, where: dict[str, list[Place]], width: float) -> float:
    """The end of the axis in seconds, so that no text at the end of a bar is cut off; `width` is that of a panel in inches."""
    letter = 0.062 / width
    ends = [one.right / max(1 - letter * (len(one.text) + 2), 0.2) for some in where.values() for one in some]
    found = [explained(profile, device) for device in where]
    return max(*ends, *(1.02 * one.stated.seconds / one.count for one in found if one))


def _rows_axis(axes: Any, some: Sequence[Bar], one_more: bool) -> None:
    axes.set_yticks(range(len(some)), [f"({bar.label})" if bar.hidden else bar.label for bar in some], fontsize=7.5)
    axes.set_ylim(len(some) + (0.6 if one_more else -0.4), -0.6)


def _legend(figure: Any, profile: Profile, devices: Sequence[str], beside: Sequence[str]) -> None:
    """Groups with their sums; what is hidden and what is another device, where there is any."""
    from matplotlib.patches import Patch

    handles = []
    for group, look in zip(profile.groups(), _cycled(len(profile.groups())), strict=True):
        rows = profile.of(group)
        hidden = all(row.hidden_by is not None for row in rows)
        counted = [row for row in rows if hidden or row.hidden_by is None]
        took = " / ".join(microseconds(total(counted, device)) for device in devices)
        handles.append(Patch(label=f"{group}: {f'({took}), hidden and not added' if hidden else took}", **_fill(look, hidden)))
    handles += [Patch(label=f"{', '.join(beside)}, where there is a time", **_FRAME)] if beside else []
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), fontsize=8, frameon=False)


def _readable(figure: Any) -> None:
    """Names are drawn as they are: a dollar is no formula, and what no font has is drawn as a box instead of warned about."""
    from matplotlib.font_manager import FontProperties, findfont, get_font, get_font_names
    from matplotlib.text import Text

    installed = set(get_font_names())
    families = ["DejaVu Sans", *(name for name in _CJK if name in installed)]
    known = {code for name in families for code in get_font(findfont(FontProperties(family=name))).get_charmap()}
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_fontfamily(families)
        shown = "".join(letter if ord(letter) in known else "\u25a1" for letter in text.get_text())
        if shown != text.get_text():
            text.set_text(shown)
