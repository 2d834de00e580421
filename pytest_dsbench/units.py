"""Dtypes, bytes and quantities: the only place that reads or formats a number with a unit.

Inside the project there is one unit each: seconds, bytes, FLOP, and those per second.
"""

import math
import re
from typing import Literal, get_args

from .mistake import Mistake, unknown

#: Element types of tensors. fp8_e4m3 is e4m3fn, as NVIDIA and the OCP define it; fp8_e4m3fnuz is AMD's CDNA3 variant.
Dtype = Literal[
    "fp64", "fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e4m3fnuz", "fp8_e5m2", "fp4_e2m1", "int64", "int32", "int8", "uint8", "bool"
]
DTYPES: tuple[str, ...] = get_args(Dtype)
#: What kernels that compute on plain floats take; any other dtype is refused as a dimension.
FloatDtype = Literal["fp32", "fp16", "bf16"]
#: The two encodings of fp8 e4m3; their largest values are 448 and 240.
Fp8Dtype = Literal["fp8_e4m3", "fp8_e4m3fnuz"]

_BITS = {"fp64": 64, "fp32": 32, "fp16": 16, "bf16": 16, "fp4_e2m1": 4, "int64": 64, "int32": 32}

#: Arithmetic units a data sheet can rate. `fp32` is the vector unit; the others are matrix units.
Unit = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8"]
UNITS: tuple[str, ...] = get_args(Unit)


def nbytes(dtype: str, count: int) -> int:
    """Bytes that `count` elements of `dtype` take; two fp4 elements share one byte."""
    return (count * _BITS.get(dtype, 8) + 7) // 8


def matrix_unit(dtype: str) -> Unit:
    """The unit whose peak bounds a matrix product over `dtype` operands."""
    if dtype.startswith(("fp8", "fp4")):
        return "fp8" if dtype.startswith("fp8") else "fp4"
    if dtype not in ("fp64", "fp32", "fp16", "bf16", "int8"):
        raise ValueError(f"no matrix unit multiplies {dtype}")
    return dtype  # type: ignore[return-value]


_DECIMAL = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
#: What a quantity can be measured in, with an example of each; bits are for a memory bus, bits per second for a network.
_EXAMPLE = {
    "FLOP/s": "989 TFLOP/s",
    "B/s": "4.8 TB/s",
    "B": "141 GB",
    "Hz": "1.83 GHz",
    "s": "7.4 us",
    "bit": "5120 bit",
    "b/s": "400 Gb/s",
}
_QUANTITY = re.compile(r"\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z/]+)\s*")


def quantity(text: str, base: str) -> float:
    """Reads "4.8 TB/s" as 4.8e12 where `base` is "B/s". Raises Mistake when number, prefix or unit is not understood."""
    match = _QUANTITY.fullmatch(text)
    expected = f"expected a number and a unit in {base}, such as '{_EXAMPLE[base]}'"
    if match is None:
        raise Mistake(f"{text!r} is not a quantity; {expected}")
    number, unit = match.groups()
    prefix = unit.removesuffix(base)
    if not unit.endswith(base) or prefix not in (_DECIMAL | _BINARY):
        raise Mistake(f"{text!r} has the unit {unit!r}; {expected}")
    try:
        return float(number) * (_DECIMAL | _BINARY)[prefix]
    except ValueError:
        raise Mistake(f"{text!r} is not a quantity; {expected}") from None


def budget(text: str) -> tuple[float | None, float | None]:
    """Reads "0.5s,2GiB", "0.5s" or "2GiB" as (seconds, bytes); None where not given. "none" gives neither."""
    found: dict[str, float] = {}
    for part in text.split(",") if text != "none" else ():
        base = "B" if part.strip().endswith("B") else "s"
        try:
            value = quantity(part, base)
        except Mistake:
            raise Mistake(f"{part!r} is not a budget; expected a time, a size or both, such as '0.5s,2GiB', or 'none'") from None
        if value <= 0:
            raise Mistake(f"{part!r} is not a budget; expected more than zero")
        if base in found:
            raise Mistake(f"{text!r} is not a budget; it gives two {'sizes' if base == 'B' else 'times'}")
        found[base] = value
    return found.get("s"), found.get("B")


_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?(ms|s|min|h)")


def duration(text: str) -> float | None:
    """Reads "60s", "1.5 min" or "2h" as seconds; "off" and "0" are None."""
    if text.strip() in ("off", "0"):
        return None
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise Mistake(f"{text!r} is not a time; expected one such as '60s', '10min' or '2h', or 'off'")
    seconds = float(match[1]) * {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}[match[2]]
    if seconds <= 0:
        raise Mistake(f"{text!r} is not a time that a case could take; expected more than zero, or 'off'")
    return seconds


def check_unit(unit: str) -> None:
    """Raises Mistake unless `unit` is one a data sheet can rate."""
    if unit not in UNITS:
        raise Mistake(unknown("unit", unit, UNITS))


def _scaled(value: float, base: str, prefixes: tuple[tuple[float, str], ...]) -> str:
    # 999.6 us is shown as 1.00 ms: what rounds to a thousand belongs to the next prefix.
    scale, prefix = next(((scale, prefix) for scale, prefix in prefixes if abs(value) >= 0.9995 * scale), prefixes[-1])
    return f"{show_number(value / scale)} {prefix}{base}"


def show_number(value: float) -> str:
    """Three significant digits without an exponent: 1234 -> 1234, 12.34 -> 12.3, 0.01234 -> 0.0123."""
    if value == 0 or abs(value) >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}" if abs(value) >= 0.9995 else f"{value:.3g}"


_UP = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def show_seconds(value: float) -> str:
    """Seconds for people: "1.24 ms"."""
    return _scaled(value, "s", ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n")))


def show_bytes(value: float) -> str:
    """Bytes for people, decimal as on data sheets: "141 GB"."""
    return _scaled(value, "B", _UP[1:])


def show_memory(value: float) -> str:
    """Bytes for people, binary as memory is bought: "2.00 GiB"."""
    return _scaled(value, "B", tuple((2.0 ** (10 * n), p) for n, p in ((4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki"), (0, ""))))


def show_rate(value: float, base: str) -> str:
    """A rate for people: "989 TFLOP/s", "4.80 TB/s"."""
    return _scaled(value, base, _UP[1:-1])


def show_flop(value: float) -> str:
    """FLOP for people: "68.7 GFLOP"."""
    return _scaled(value, "FLOP", _UP)


def show_delta(value: float) -> str:
    """A difference of ln T in per cent of the time before: "+9.8 %"."""
    return f"{100 * math.expm1(value):+.1f} %"


def show_share(value: float) -> str:
    """A share for people: "87.3 %"; small ones keep a second digit, so that 0.04 % is not shown as nothing."""
    return f"{100 * value:.1f} %" if abs(value) >= 0.01 or value == 0 else f"{100 * value:.2g} %"


def show_count(number: int, what: str) -> str:
    """A number of things: "1 case", "12 cases"."""
    return f"{number} {what}{'' if number == 1 else 's'}"
