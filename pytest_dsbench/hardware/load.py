"""Reads data sheets: the packaged ones by name, anybody's by path."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast, get_args

from .. import datasheet
from ..datasheet import Keys, SheetError, amount, check_keys, count, string, table
from ..mistake import Mistake, unknown
from ..units import UNITS, Fp8Dtype, Unit
from .sheet import DriverFacts, Hardware

#: Keys that hold a quantity, and what it is measured in.
_QUANTITIES = {"bandwidth": "B/s", "memory": "B", "l2": "B", "link": "B/s", "launch_floor": "s"}
_COUNTS = ("sms", "link_gpus")
_KEYS = ("title", "kind", "vendor", "match", *_QUANTITIES, *_COUNTS, "fp8_encoding", "source", "peak", "driver")
_REQUIRED = ("bandwidth", "source", "peak")
_DRIVER_KEYS = ("capability", "boost", "memory_clock", "memory_bus")


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
    return datasheet.read(path, "data sheet", _hardware)


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
    check_keys(data, (), _KEYS, _REQUIRED)
    amounts = {key: amount(data[key], (key,), base) for key, base in _QUANTITIES.items() if key in data}
    counts = {key: count(data[key], (key,)) for key in _COUNTS if key in data}
    match = tuple(_strings(data.get("match", []), ("match",)))
    return Hardware(
        name=name,
        title=string(data.get("title", match[0] if match else name), ("title",)),
        kind=_kind(data.get("kind", "gpu")),
        vendor=string(data.get("vendor", "nvidia"), ("vendor",)),
        match=match,
        source=string(data["source"], ("source",)),
        fp8_encoding=_fp8(data.get("fp8_encoding", "fp8_e4m3")),
        sms=counts.get("sms"),
        link_gpus=counts.get("link_gpus"),
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
        raise SheetError(("kind",), f"kind is {value!r}; expected 'gpu' or 'cpu'")
    return value


def _fp8(value: object) -> Fp8Dtype:
    if value not in get_args(Fp8Dtype):
        raise SheetError(("fp8_encoding",), f"fp8_encoding is {value!r}; expected {' or '.join(map(repr, get_args(Fp8Dtype)))}")
    return cast(Fp8Dtype, value)


def _peak(given: object) -> dict[Unit, float]:
    peaks = table(given, ("peak",))
    if not peaks:
        raise SheetError(("peak",), f"[peak] is empty; expected at least one of {', '.join(UNITS)}")
    for unit in peaks:
        if unit not in UNITS:
            raise SheetError(("peak", unit), unknown("unit", unit, UNITS))
    return {cast(Unit, unit): amount(peaks[unit], ("peak", unit), "FLOP/s") for unit in peaks}


def _driver(given: object) -> DriverFacts:
    facts = table(given, ("driver",))
    check_keys(facts, ("driver",), _DRIVER_KEYS, _DRIVER_KEYS)
    capability = string(facts["capability"], ("driver", "capability"))
    if not re.fullmatch(r"\d+\.\d", capability):
        raise SheetError(("driver", "capability"), f"capability is {capability!r}; expected major.minor, such as '9.0'")
    bus = amount(facts["memory_bus"], ("driver", "memory_bus"), "bit")
    if not bus.is_integer():
        raise SheetError(("driver", "memory_bus"), f"memory_bus is {facts['memory_bus']!r}; expected a whole number of bits")
    clocks = {key: amount(facts[key], ("driver", key), "Hz") for key in ("boost", "memory_clock")}
    return DriverFacts(capability=capability, memory_bus=int(bus), **clocks)


def _strings(value: object, keys: Keys) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise SheetError(keys, f"{keys[-1]} is {value!r}; expected a list of the driver's device names, such as ['NVIDIA H200']")
    return value
