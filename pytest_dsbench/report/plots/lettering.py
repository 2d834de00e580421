"""Words in pictures: on one line or several, cut to the room that there is, with letters that the font has."""

import math
import unicodedata
from collections.abc import Sequence
from functools import cache


def plain(text: str) -> str:
    """The text on one line, with a box for every letter that the font does not have: it would be one box with a warning."""
    words = " ".join(text.split())
    return "".join(one if ord(one) in _glyphs() else "□" for one in words if unicodedata.category(one) != "Cc")


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [get_font(findfont(FontProperties(family="DejaVu Sans", weight=weight))) for weight in ("normal", "bold")]
    return frozenset.intersection(*(frozenset(font.get_charmap()) for font in fonts))


@cache
def width_of(text: str, size: float, bold: bool = False) -> float:
    """The width of a line of text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    # Letters that are fitted to the pixels of a picture are a little wider.
    return 1.02 * float(width) / 72


def fitted(text: str, width: float, size: float, bold: bool = False) -> str:
    """The text on one line of at most `width` inches; what is too long loses its middle, since both ends tell cases apart."""
    text = plain(text)
    if width_of(text, size, bold) <= width:
        return text
    low, high = 0, len(text) - 1
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if width_of(_cut(text, kept), size, bold) <= width else (low, kept - 1)
    return _cut(text, low)


def _cut(text: str, kept: int) -> str:
    tail = kept // 2
    return f"{text[: kept - tail]}…{text[len(text) - tail :] if tail else ''}"


def wrapped(text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """The text in lines of at most `width` inches."""
    lines: list[str] = []
    for word in plain(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size, bold) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(word, width, size, bold))
    return lines


def stacked(places: Sequence[float], gap: float, most: float = math.inf) -> list[float]:
    """Places moved up as little as it takes that neighbours are `gap` apart, and down again where they went over `most`."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    last = -math.inf
    for i in order:
        moved[i] = last = max(moved[i], last + gap)
    limit = most
    for i in reversed(order):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - gap
    return moved
