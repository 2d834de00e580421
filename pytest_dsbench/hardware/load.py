"""Reads data sheets: the packaged ones by name, anybody's by path."""

import math
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ..mistake import Mistake, unknown
from ..units import UNITS, Fp8Dtype, Unit, quantity
from .sheet import DriverFacts, Hardware

#: Keys that hold a quantity, and what it is measured in.
_QUANTITIES = {"bandwidth": "B/s", "memory": "B", "l2": "B", "link": "B/s", "launch_floor": "s"}
_KEYS = ("title", "kind", "vendor", "match", *_QUANTITIES, "sms", "fp8_encoding", "source", "peak", "driver")
_REQUIRED = ("bandwidth", "source", "peak")
_DRIVER_KEYS = ("capability", "boost", "memory_clock", "memory_bus")

Keys = tuple[str, ...]


class _SheetError(Exception):
    """What is wrong with the value at `keys`; `load` knows the path and finds the line."""

    def __init__(self, keys: Keys, why: str) -> None:
        self.keys = keys
        self.why = why


def sheets() -> dict[str, Hardware]:
    """The packaged data sheets by name. Raises Mistake where one of them is wrong."""
    return {path.stem: load(path) for path in _packaged()}


def named(name_or_path: str) -> Hardware:
    """The packaged sheet of that name, or the sheet at a path ending in `.toml`. Raises Mistake where there is none."""
    if name_or_path.endswith(".toml"):
        return load(Path(name_or_path))
    paths = {path.stem: path for path in _packaged()}
    if name_or_path not in paths:
        raise Mistake(_no_such(name_or_path, list(paths)))
    return load(paths[name_or_path])


def load(path: Path) -> Hardware:
    """The data sheet at `path`, in FLOP/s, B/s, bytes, seconds. Raises Mistake, "path:line: what", where it is wrong."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise Mistake(f"cannot read the data sheet {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Mistake(f"{path}:{line}: not UTF-8 text") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Mistake(f"{path}:{_syntax(error, text)}") from None
    try:
        return _hardware(path.stem, data)
    except _SheetError as wrong:
        raise Mistake(f"{path}:{_line(text, wrong.keys)}: {wrong.why}") from None


def _packaged() -> list[Path]:
    return sorted(Path(__file__).parent.glob("*.toml"))


def _no_such(name: str, names: list[str]) -> str:
    # Left alone, difflib offers h20 for "h201" and h800 for "h100". A beginning comes first, then a slip, which keeps the length.
    beginnings = [other for other in names if other.startswith(name)]
    as_long = [other for other in names if len(other) == len(name)]
    nearest = next((some for some in (beginnings, as_long) if get_close_matches(name, some, n=1)), names)
    sentence, _, _ = unknown("GPU", name, nearest).partition("known: ")
    return f"{sentence}known: {', '.join(names)}, or the path of a .toml sheet"


def _hardware(name: str, data: dict[str, Any]) -> Hardware:
    _check_keys(data, (), _KEYS, _REQUIRED)
    amounts = {key: _amount(data[key], (key,), base) for key, base in _QUANTITIES.items() if key in data}
    match = tuple(_strings(data.get("match", []), ("match",)))
    return Hardware(
        name=name,
        title=_string(data.get("title", match[0] if match else name), ("title",)),
        kind=_kind(data.get("kind", "gpu")),
        vendor=_string(data.get("vendor", "nvidia"), ("vendor",)),
        match=match,
        source=_string(data["source"], ("source",)),
        fp8_encoding=_fp8(data.get("fp8_encoding", "fp8_e4m3")),
        sms=_count(data["sms"], ("sms",)) if "sms" in data else None,
        peak=_peak(data["peak"]),
        driver=_driver(data["driver"]) if "driver" in data else None,
        bandwidth=amounts["bandwidth"],
        memory=amounts.get("memory"),
        l2=amounts.get("l2"),
        link=amounts.get("link"),
        launch_floor=amounts.get("launch_floor"),
    )


def _kind(value: object) -> Literal["gpu", "cpu"]:
    if value not in ("gpu", "cpu"):
        raise _SheetError(("kind",), f"kind is {value!r}; expected 'gpu' or 'cpu'")
    return value


def _fp8(value: object) -> Fp8Dtype:
    if value not in get_args(Fp8Dtype):
        raise _SheetError(("fp8_encoding",), f"fp8_encoding is {value!r}; expected {' or '.join(map(repr, get_args(Fp8Dtype)))}")
    return cast(Fp8Dtype, value)


def _peak(table: object) -> dict[Unit, float]:
    peaks = _table(table, ("peak",))
    if not peaks:
        raise _SheetError(("peak",), f"[peak] is empty; expected at least one of {', '.join(UNITS)}")
    for unit in peaks:
        if unit not in UNITS:
            raise _SheetError(("peak", unit), unknown("unit", unit, UNITS))
    return {cast(Unit, unit): _amount(peaks[unit], ("peak", unit), "FLOP/s") for unit in peaks}


def _driver(table: object) -> DriverFacts:
    facts = _table(table, ("driver",))
    _check_keys(facts, ("driver",), _DRIVER_KEYS, _DRIVER_KEYS)
    capability = _string(facts["capability"], ("driver", "capability"))
    if not re.fullmatch(r"\d+\.\d", capability):
        raise _SheetError(("driver", "capability"), f"capability is {capability!r}; expected major.minor, such as '9.0'")
    bus = _amount(facts["memory_bus"], ("driver", "memory_bus"), "bit")
    if not bus.is_integer():
        raise _SheetError(("driver", "memory_bus"), f"memory_bus is {facts['memory_bus']!r}; expected a whole number of bits")
    clocks = {key: _amount(facts[key], ("driver", key), "Hz") for key in ("boost", "memory_clock")}
    return DriverFacts(capability=capability, memory_bus=int(bus), **clocks)


def _check_keys(table: dict[str, Any], at: Keys, known: Keys, required: Keys) -> None:
    where = f" of [{'.'.join(at)}]" if at else ""
    for key in table:
        if key not in known:
            raise _SheetError((*at, key), unknown(f"key{where}", key, known))
    for key in required:
        if key not in table:
            raise _SheetError(at, f"{key}{where} is missing; a sheet needs {', '.join(required)}")


def _table(value: object, keys: Keys) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _SheetError(keys, f"{keys[-1]} is {value!r}; expected a table [{keys[-1]}]")
    return value


def _string(value: object, keys: Keys) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _SheetError(keys, f"{keys[-1]} is {value!r}; expected words in quotes")
    return value


def _strings(value: object, keys: Keys) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise _SheetError(keys, f"{keys[-1]} is {value!r}; expected a list of the driver's device names, such as ['NVIDIA H200']")
    return value


def _count(value: object, keys: Keys) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise _SheetError(keys, f"{keys[-1]} is {value!r}; expected a whole number above zero")
    return value


def _amount(value: object, keys: Keys, base: str) -> float:
    if not isinstance(value, str):
        raise _SheetError(keys, f"{keys[-1]} is {value!r}; expected a number and its unit in {base}, in quotes")
    try:
        amount = quantity(value, base)
    except Mistake as mistake:
        raise _SheetError(keys, f"{keys[-1]}: {mistake}") from None
    if not (math.isfinite(amount) and amount > 0):
        raise _SheetError(keys, f"{keys[-1]} is {value!r}; expected a finite number above zero")
    return amount


def _syntax(error: tomllib.TOMLDecodeError, text: str) -> str:
    """ "line: what" out of tomllib's "what (at line 3, column 5)"; it gives the line in words only before Python 3.14."""
    what, _, where = str(error).rpartition(" (at ")
    line = re.match(r"line (\d+)", where)
    return f"{line[1] if line else len(text.splitlines())}: not TOML: {what}"


def _line(text: str, keys: Keys) -> int:
    """The line on which the value at `keys` begins, or 1.

    tomllib gives no positions, but it can be asked: the value is there from the first prefix of whole lines that holds it.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    begin = 1
    for count in range(1, len(lines) + 1):
        try:
            found: object = tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value of several lines: it began where the last good prefix ended
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None and keys:
            return begin
        begin = count + 1
    return 1
