"""Assumed: what the corrected model takes where nothing was measured, each value by a name that the command line can change."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ...mistake import Mistake, unknown
from ...record import Record
from ...units import quantity

Pipeline = Literal["none", "two-stage", "three-stage"]

_FILE = Path(__file__).parent / "assumed.toml"


class Assumed(Record):
    """The values of assumed.toml by their names, such as "efficiency.gemm.memory"; times in seconds."""

    values: dict[str, float | str]
    #: names that were changed
    changed: tuple[str, ...] = ()

    def number(self, name: str) -> float:
        """The value of a name that has a number."""
        value = self.values[name]
        assert isinstance(value, float), name
        return value

    def efficiency(self, category: str, of: Literal["memory", "compute"]) -> float:
        """The share that a kernel of a category reaches; of a category that has none of its own, that of "other"."""
        name = f"efficiency.{category}.{of}"
        return self.number(name if name in self.values else f"efficiency.other.{of}")

    def pipeline(self, capability: str) -> Pipeline:
        """How attention uses the units of a device of a compute capability; one after the other where nothing is known of it."""
        return cast(Pipeline, self.values.get(f"pipeline.{capability}", "none"))

    def changed_by(self, given: Iterable[str]) -> "Assumed":
        """With NAME=VALUE, as --assume gives them. Raises Mistake for an unknown name and for a value that cannot be."""
        values = dict(self.values)
        names = []
        for text in given:
            name, equals, value = text.partition("=")
            if not equals:
                raise Mistake(f"--assume {text!r}: expected NAME=VALUE, such as efficiency.gemm.memory=0.8")
            if name not in values:
                raise Mistake(f"--assume {text!r}: {unknown('assumption', name, values)}")
            values[name] = _read(name, value, f"--assume {text!r}")
            names.append(name)
        return self.replace(values=values, changed=(*self.changed, *names))


@cache
def defaults() -> Assumed:
    """The values that come with the package."""
    flat = _flat(tomllib.loads(_FILE.read_text(encoding="utf-8")))
    return Assumed(values={name: _read(name, value, f"{_FILE.name}: {name}") for name, value in flat.items()})


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _read(name: str, value: object, where: str) -> float | str:
    read = next(read for beginning, read in _KINDS.items() if name.startswith(beginning))
    return read(value, where)


def _number(value: object, where: str, expected: str, low: float, high: float, inclusive: bool) -> float:
    try:
        number = float(str(value))
    except ValueError:
        raise Mistake(f"{where}: {value!r} is no number; expected {expected}") from None
    if not isfinite(number) or not (low <= number <= high) or (number == low and not inclusive):
        raise Mistake(f"{where}: {value} cannot be; expected {expected}")
    return number


def _share(value: object, where: str) -> float:
    return _number(value, where, "a share above 0 and of at most 1: nothing is faster than the device", 0, 1, inclusive=False)


def _factor(value: object, where: str) -> float:
    return _number(value, where, "a number of at least 1: the busiest over the mean", 1, 1e6, inclusive=True)


def _chance(value: object, where: str) -> float:
    return _number(value, where, "a chance between 0 and 1", 0, 1, inclusive=True)


def _count(value: object, where: str) -> float:
    return float(round(_number(value, where, "a whole number of at least 1", 1, 1e6, inclusive=True)))


def _time(value: object, where: str) -> float:
    try:
        seconds = quantity(str(value), "s")
    except Mistake as error:
        raise Mistake(f"{where}: {error}") from None
    return _number(seconds, where, "a time of at least 0, such as 2us", 0, 1e3, inclusive=True)


def _pipeline(value: object, where: str) -> str:
    if value not in get_args(Pipeline):
        raise Mistake(f"{where}: {unknown('pipeline', str(value), get_args(Pipeline))}")
    return str(value)


#: How a value is read, by the beginning of its name; the first that fits.
_KINDS: dict[str, Callable[[object, str], float | str]] = {
    "efficiency.": _share,
    "time.": _time,
    "tile.": _count,
    "link.rdma_latency": _time,
    "link.nvlink_latency": _time,
    "link.": _share,
    "imbalance.": _factor,
    "guess.": _chance,
    "memory.": _share,
    "exp.": _count,
    "pipeline.": _pipeline,
}
