"""Efficiencies: what runs say about how near to T_SOL a kernel comes, at its own shape or between shapes that were measured."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from typing import Any, Literal

from ..hardware import Hardware
from ..measurement import Measurement, read_back
from ..mistake import Mistake
from ..operator import Operator
from ..record import Record
from ..runs import Run

#: Where an efficiency comes from. "carried" is one of another device of the runs, where this one was not measured.
Source = Literal["measured", "interpolated", "carried", "assumed"]

#: A point of the measured grid of an operator: its numbers, each the logarithm of a dimension, in the order of the names.
_Point = tuple[float, ...]


class Known(Record):
    """An efficiency, T_SOL / T, and where it comes from."""

    value: float
    source: Source
    why: str


class _Shape(Record):
    """A shape apart from its sizes: what must be equal, and the sizes."""

    words: str
    sizes: tuple[float, ...]


class Efficiencies:
    """The fastest passed measurement of each shape of each device."""

    def __init__(self, runs: Iterable[Run]) -> None:
        """Raises Mistake for a run without a header."""
        self._tables: dict[str, dict[str, dict[_Point, tuple[float, Measurement]]]] = {}
        self._kinds: dict[str, str] = {}
        for run in runs:
            if run.header is None:
                raise Mistake(f"{run.path}: no header, which names the device; expected a run file")
            self._kinds[run.header.hardware.name] = run.header.hardware.kind
            for one in run.measurements:
                self._take(run.header.hardware.name, one)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that were measured."""
        return tuple(self._kinds)

    def _take(self, device: str, one: Measurement) -> None:
        if one.status != "passed" or one.efficiency is None or not 0 < one.efficiency <= 1 or one.cold is False:
            return
        shape = _shape(one.case.operator, one.case.dims)
        points = self._tables.setdefault(device, {}).setdefault(shape.words, {})
        if shape.sizes not in points or points[shape.sizes][0] < one.efficiency:
            points[shape.sizes] = (one.efficiency, one)

    def of(self, operator: Operator, hardware: Hardware) -> Known | None:
        """What is known of an operator on a device; None where nothing is."""
        shape = _shape(operator.name, read_back(operator))
        own = self._within(hardware.name, shape)
        if own is not None:
            return own
        for device, kind in self._kinds.items():
            # What a CPU reaches of its own limits says nothing about a GPU.
            if device != hardware.name and kind == hardware.kind:
                found = self._within(device, shape)
                if found is not None:
                    return found.replace(source="carried", why=f"{found.why}, on {device}")
        return None

    def _within(self, device: str, shape: _Shape) -> Known | None:
        points = self._tables.get(device, {}).get(shape.words, {})
        if shape.sizes in points:
            value, one = points[shape.sizes]
            return Known(value=value, source="measured", why=f"{one.case.provider}, {one.case.where}")
        found = _between(list(points), points, shape.sizes, 0)
        if found is None:
            return None
        return Known(value=exp(found), source="interpolated", why=f"between measured shapes of {len(points)}")


def _between(points: Sequence[_Point], values: Mapping[_Point, tuple[float, Measurement]], at: _Point, axis: int) -> float | None:
    """ln of the efficiency at a point, linear in the logarithm of each size between the nearest measured ones on both sides.

    None outside of what was measured: nothing is extrapolated.
    """
    if not points:
        return None
    if axis == len(at):
        return log(values[points[0]][0])
    places = sorted({point[axis] for point in points})
    number = bisect_left(places, at[axis])
    if number == len(places) or (number == 0 and places[0] != at[axis]):
        return None
    above = places[number]
    high = _between([point for point in points if point[axis] == above], values, at, axis + 1)
    if above == at[axis]:
        return high
    below = places[number - 1]
    low = _between([point for point in points if point[axis] == below], values, at, axis + 1)
    if low is None or high is None:
        return None
    share = (at[axis] - below) / (above - below)
    return low + share * (high - low)


def _shape(operator: str, dims: Mapping[str, Any]) -> _Shape:
    """Sizes are integers above 0; of a list of lengths how many and how long, and the longest where they differ."""
    words, sizes = [operator], []
    for name, value in sorted(dims.items()):
        if isinstance(value, bool) or not isinstance(value, (int, list, tuple)) or value == 0:
            words.append(f"{name}={value}")
        elif isinstance(value, int):
            sizes.append(log(value))
        elif not value or not sum(value):
            words.append(f"{name}={list(value)}")
        elif min(value) == max(value):
            words.append(f"{name} alike")
            sizes += [log(len(value)), log(value[0])]
        else:
            sizes += [log(len(value)), log(sum(value) / len(value)), log(max(value))]
    return _Shape(words=" ".join(words), sizes=tuple(round(size, 12) for size in sizes))
