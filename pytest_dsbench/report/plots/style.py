"""How pictures look: one font, and colours and shapes that survive grey print."""

from collections.abc import Callable, Iterable
from functools import wraps
from itertools import count
from typing import Any, ParamSpec

from ...operator import CATEGORIES, ordered
from ...record import Record

P = ParamSpec("P")

#: Dots per inch of a .png.
DPI = 160

# The palette of Okabe and Ito, which the colour-blind can tell apart. Their lightness differs too, and so do the shapes.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
)
GREY, PALE, GRID = "#5E5E5E", "#B8B8B8", "#E4E4E4"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
MARKERS = ("o", "^", "s", "v", "D", "P", "X", "<")

#: Points (1/72 inch) of letters: titles, plain text, what is said beside it, the line below.
TITLE, TEXT, SMALL, FOOT = 12.0, 8.5, 7.5, 6.5
#: Margins of a page in inches, and the height of a line as a share of its letters.
MARGIN, LEADING = 0.2, 1.35
#: Inches that the words of a legend may take.
KEY = 1.3

# A user's matplotlibrc must not change them, and no `$` in a label may begin a formula. Text stays text in an SVG.
_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": TEXT,
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "dsbench",
    "savefig.dpi": DPI,
}


class Look(Record):
    """How the marks of one kind are drawn."""

    colour: str
    marker: str


_CATEGORIES = (
    *((BLUE, "o"), (SKY, "s"), (VERMILION, "^"), (ORANGE, "D"), (PURPLE, "v"), (GREEN, "P"), (BLACK, "X"), (YELLOW, "p")),
    *((GREEN, "<"), (GREY, "d"), (PURPLE, ">"), (GREY, "h")),
)
_LOOKS = {name: Look(colour=colour, marker=marker) for name, (colour, marker) in zip(CATEGORIES, _CATEGORIES, strict=True)}


def looks(categories: Iterable[str]) -> dict[str, Look]:
    """The look of each category, in the order of reports; the words of a user's own come behind ours."""
    own = (Look(colour=PALETTE[i % len(PALETTE)], marker=("8", "H", "*")[i % 3]) for i in count())
    return {name: _LOOKS[name] if name in _LOOKS else next(own) for name in ordered(categories)}


def numbered(names: Iterable[str]) -> dict[str, Look]:
    """A look for each of some names, such as providers, in their order."""
    return {
        name: Look(colour=PALETTE[i % len(PALETTE)], marker=MARKERS[(i + i // len(PALETTE)) % len(MARKERS)])
        for i, name in enumerate(dict.fromkeys(names))
    }


def styled(draw: Callable[P, Any]) -> Callable[P, Any]:
    """Lets a function draw in our style, whatever the user's own is."""

    @wraps(draw)
    def drawing(*args: P.args, **kwargs: P.kwargs) -> Any:
        from matplotlib import style

        with style.context(["default", _RC]):
            return draw(*args, **kwargs)

    return drawing
