"""Efficiencies: what runs say about how near to T_SOL a kernel comes, at its own shape or between shapes that were measured."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import exp, log
from typing import Any, Literal

from ...hardware import Hardware
from ...measurement import Measurement, read_back
from ...mistake import Mistake
from ...operator import Operator
from ...record import Record
from ...runs import Run

#: Where an efficiency comes from. "carried" is one of another device of the runs, where this one was not measured.
Source = Literal["measured", "interpolated", "carried", "assumed"]

#: A point of the measured grid of an operator: its numbers, each the logarithm of a dimension, in the order of the names.
Point = tuple[float, ...]


class Known(Record):
    """An efficiency, T_SOL / T, and where it comes from."""

    value: float
    source: Source
    why: str


class Shape(Record):
    """A shape apart from its sizes: what must be equal, and the sizes."""

    words: str
    sizes: Point


class Efficiencies:
    """The fastest passed measurement of each shape of each device."""

    def __init__(self, runs: Iterable[Run]) -> None:
        """Raises Mistake for a run without a header."""
        self._tables: dict[str, dict[str, dict[Point, tuple[float, Measurement]]]] = {}
        self._kinds: dict[str, str] = {}
        self._found: dict[tuple[str, Operator], Known | None] = {}
        #: a sentence for each measurement that cannot be right, and for each run whose times were not checked here
        self.left_out: list[str] = []
        for run in runs:
            if run.header is None:
                raise Mistake(f"{run.path}: no header, which names the device; expected a run file")
            if run.header.imported is not None:
                self.left_out.append(f"{run.path}: imported, so that its times were not checked here; not used")
                continue
            self._kinds[run.header.hardware.name] = run.header.hardware.kind
            for one in run.measurements:
                self._take(run.header.hardware.name, one)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that were measured."""
        return tuple(self._kinds)

    def _take(self, device: str, one: Measurement) -> None:
        if one.status != "passed" or one.efficiency is None or one.cold is False:
            return
        if not 0 < one.efficiency <= 1:
            wrong = f"{one.case.where}: {one.case.name} has an efficiency of {one.efficiency:.3g}"
            self.left_out.append(f"{wrong}, which is not above 0 and at most 1; not used")
            return
        shape = shape_at(one.case.operator, one.case.dims)
        points = self._tables.setdefault(device, {}).setdefault(shape.words, {})
        if shape.sizes not in points or points[shape.sizes][0] < one.efficiency:
            points[shape.sizes] = (one.efficiency, one)

    def of(self, operator: Operator, hardware: Hardware) -> Known | None:
        """What is known of an operator on a device; None where nothing is."""
        own = self._at(hardware.name, operator)
        if own is not None:
            return own
        for device, kind in self._kinds.items():
            # What a CPU reaches of its own limits says nothing about a GPU.
            if device != hardware.name and kind == hardware.kind:
                found = self._at(device, operator)
                if found is not None:
                    return found.replace(source="carried", why=f"{found.why}, on {device}")
        return None

    def _at(self, device: str, operator: Operator) -> Known | None:
        """What was measured on a device; looked up once, since a search asks for every GPU it looks at."""
        if device not in self._tables:
            return None
        if (device, operator) not in self._found:
            self._found[device, operator] = self._within(device, shape_at(operator.name, read_back(operator)))
        return self._found[device, operator]

    def _within(self, device: str, shape: Shape) -> Known | None:
        points = self._tables.get(device, {}).get(shape.words, {})
        if shape.sizes in points:
            value, one = points[shape.sizes]
            return Known(value=value, source="measured", why=f"{one.case.provider}, {one.case.where}")
        found = between(list(points), lambda point: log(points[point][0]), shape.sizes)
        if found is None:
            return None
        return Known(value=exp(found), source="interpolated", why=f"between measured shapes of {len(points)}")


def between(points: Sequence[Point], value: Callable[[Point], float], at: Point, axis: int = 0) -> float | None:
    """The value at a point, linear in the logarithm of each size between the nearest measured ones on both sides.

    None outside of what was measured: nothing is extrapolated.
    """
    if not points:
        return None
    if axis == len(at):
        return value(points[0])
    places = sorted({point[axis] for point in points})
    number = bisect_left(places, at[axis])
    if number == len(places) or (number == 0 and places[0] != at[axis]):
        return None
    above = places[number]
    high = between([point for point in points if point[axis] == above], value, at, axis + 1)
    if above == at[axis]:
        return high
    below = places[number - 1]
    low = between([point for point in points if point[axis] == below], value, at, axis + 1)
    if low is None or high is None:
        return None
    share = (at[axis] - below) / (above - below)
    return low + share * (high - low)


def shape_at(operator: str, dims: Mapping[str, Any]) -> Shape:
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
    return Shape(words=" ".join(words), sizes=tuple(round(size, 12) for size in sizes))
