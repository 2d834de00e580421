"""Times of a profile: read with what their last digit leaves open, and written so that they read back."""

import math
import re
from decimal import Decimal

from ..mistake import Mistake
from ..units import quantity

#: Units that a column of a CSV can be named for, in seconds.
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
#: More digits than this are not rounding but a float written in full.
_MOST_DIGITS = 12


def time(value: object) -> tuple[float, float]:
    """Reads "13 us" as seconds, and half of its last digit in seconds. Raises Mistake for all that is no positive time."""
    if not isinstance(value, str):
        raise Mistake(f"the time {value!r} has no unit; expected a number and a unit in quotes, such as '13 us'")
    seconds = quantity(value, "s")
    if not (math.isfinite(seconds) and seconds > 0):
        raise Mistake(f"the time {value!r} is not above zero; what has no time is left out")
    number, unit = re.split(r"\s*(?=[a-zA-Z]+\s*$)", value.strip(), maxsplit=1)
    # In decimal, so that a time is the float nearest to what was written, and is written as it was read.
    exact, one = Decimal(number), Decimal(repr(quantity(f"1 {unit}", "s")))
    last = Decimal(1).scaleb(int(exact.as_tuple().exponent)) * one
    return float(exact * one), float(last) / 2


def written(seconds: float, rounding: float = 0.0) -> tuple[str, str]:
    """Number and unit of a time: microseconds with the digits that it was read with, a larger unit where those are fewer."""
    unit = next((unit for unit in ("us", "ms", "s") if 2 * rounding <= 1.5 * UNITS[unit]), "s")
    scaled, last = seconds / UNITS[unit], 2 * rounding / UNITS[unit]
    digits = round(-math.log10(last)) if last > 0 else _MOST_DIGITS
    if digits < _MOST_DIGITS:
        return f"{scaled:.{max(digits, 0)}f}", unit
    plain = f"{Decimal(f'{scaled:.{_MOST_DIGITS}g}'):f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain, unit


def microseconds(seconds: float) -> str:
    """A time of a profile for people, in full: "1,116 us", "225.767 us"; one unit for all, so that rows can be added by eye."""
    return f"{seconds * 1e6:,.6g} us" if seconds < 0.1 else f"{seconds * 1e6:,.0f} us"
