"""Cells of a foreign table as values: whole numbers, words, dtypes, lengths, times."""

import json
import math
import re
from typing import Any

from ..formula import is_formula
from ..mistake import Mistake

#: Seconds per unit, by the ways in which tables write it.
UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "usec", "microsecond", "microseconds", "µs", "μs"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nanosecond", "nanoseconds"), 1e-9),
}
#: How other projects write the dtypes, after "torch." is taken off.
_DTYPES = {
    **dict.fromkeys(("bfloat16", "__nv_bfloat16"), "bf16"),
    **dict.fromkeys(("float16", "half"), "fp16"),
    **dict.fromkeys(("float32", "float"), "fp32"),
    **dict.fromkeys(("float8_e4m3fn", "float8_e4m3", "e4m3"), "fp8_e4m3"),
    "float8_e4m3fnuz": "fp8_e4m3fnuz",
    **dict.fromkeys(("float8_e5m2", "e5m2"), "fp8_e5m2"),
}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
#: 1,234 and 12,5; 1'234 and 1_234: a comma is a point in one country and nothing in another.
_AMBIGUOUS = re.compile(r"[-+]?\d+([,'_ \u00a0\u202f]\d+)+(\.\d+)?")
_LENGTHS = re.compile(r"\d+(x\d+)?([+;, ]\s*\d+(x\d+)?)*")


def value(text: str) -> int | float | bool | str:
    """A cell as a shape file would have it. Raises Mistake for what only a person can read."""
    text = text.strip()
    if is_formula(text):
        raise Mistake(f"{text!r} is a formula of a spreadsheet; expected its value")
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?\d+", text):
        return int(text) if len(text) < 30 else text
    if _NUMBER.fullmatch(text):
        return float(text)
    if _AMBIGUOUS.fullmatch(text):
        raise Mistake(_separated(text))
    return _DTYPES.get(text.lower().removeprefix("torch."), text)


def lengths(text: str) -> list[int]:
    """The lengths of a ragged batch: "[4096, 17]", "4096;17", or as our labels write them, "4096x8+17". Raises Mistake."""
    text = text.strip()
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in found):
            return found
    elif _LENGTHS.fullmatch(text):
        parts = (part.partition("x") for part in re.findall(r"\d+(?:x\d+)?", text))
        pairs = [(int(length), int(times or 1)) for length, _, times in parts]
        if sum(times for _, times in pairs) <= 1_000_000:
            return [length for length, times in pairs for _ in range(times)]
    raise Mistake(f"{text!r} is no list of lengths; expected such as [4096, 17] or 4096x8+17")


def duration(text: str, seconds: float) -> float:
    """A cell of a time column in seconds; `seconds` is its unit. Raises Mistake unless it is a number above zero."""
    text = text.strip()
    if _AMBIGUOUS.fullmatch(text):
        raise Mistake(_separated(text))
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise Mistake(f"{text!r} is no time")
    if not _NUMBER.fullmatch(text):
        raise Mistake(f"{text!r} is no time; expected a number" if text else "there is no time in this row")
    return positive(float(text) * seconds, text)


def positive(seconds: Any, shown: object) -> float:
    """A time that can have been measured. Raises Mistake for zero, less than zero, NaN, infinity and what is no number."""
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise Mistake(f"{shown!r} is no time; expected a number")
    if not math.isfinite(seconds) or seconds <= 0:
        raise Mistake(f"{shown} is no time that a kernel can take; expected more than zero")
    return float(seconds)


def count(text: str) -> int | None:
    """A number of samples; None for an empty cell. Raises Mistake."""
    if not text.strip():
        return None
    found = value(text)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise Mistake(f"{text!r} is no number of samples; expected a whole number above zero")
    return found


def _separated(text: str) -> str:
    return f"{text!r} has a separator in it, which may be one of thousands or of decimals; write digits and a point"
