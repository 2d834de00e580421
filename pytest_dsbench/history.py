"""History: the times of one case over many runs, and where their level stepped.

Only runs in like conditions - equal environment key, clock and cache - share a level. A step is in their ln T: see segments.py.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median

import msgspec

from .environment import Environment, differences
from .measurement import Measurement
from .record import Record
from .runs import Header, Run
from .segments import default_penalty, segments, spikes, without_spikes
from .stats import Estimate

#: operator, provider, name of the hardware, dimensions
_Key = tuple[str, str, str, bytes]


class Point(Record):
    """One case in one run: the medians of its records."""

    #: when the run began, UTC, ISO 8601
    started: str
    status: str
    time: Estimate | None
    efficiency: float | None
    environment: Environment
    mode: str | None
    cold: bool | None
    packages: dict[str, str]

    @property
    def timed(self) -> float | None:
        """Its median time in seconds where that may be judged."""
        return self.time.median if self.status == "passed" and self.time and self.time.median > 0 else None


class Series(Record):
    """One case by one provider on one kind of device, in the order of its runs."""

    operator: str
    label: str
    provider: str
    hardware: str
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """operator[label] provider on hardware."""
        return f"{self.operator}{f'[{self.label}]' if self.label else ''} {self.provider} on {self.hardware}"


class Mark(Record):
    """What the series says about one of its points."""

    #: seconds, of the segment the point is in; None where it was not fitted
    level: float | None = None
    #: at the first point of a segment: its level as a share of the one before, less 1
    step: float | None = None
    #: a single value far from its neighbours, which is no step
    spike: bool = False
    #: what is not as it was in the run before
    changed: tuple[str, ...] = ()


class Marked(Record):
    """A point with its mark."""

    point: Point
    mark: Mark


# -- collecting ---------------------------------------------------------------------------------------------------------------


def collect(found: Iterable[Run]) -> list[Series]:
    """All series of some runs by operator, label, provider and hardware. A run without its first line has no place in them."""
    return series_of((run.header, run.path, run.measurements) for run in found if run.header)


def series_of(found: Iterable[tuple[Header, str, Sequence[Measurement]]]) -> list[Series]:
    """The same of runs by first line, path and records."""
    # Only points are kept of a run: a year of nights does not fit into memory as it was read.
    read = [(header.started, path, _points_of(header, measurements)) for header, path, measurements in found]
    groups: dict[_Key, list[tuple[str, Point]]] = {}
    for _, _, points in sorted(read, key=lambda one: one[:2]):
        for key, pair in points.items():
            groups.setdefault(key, []).append(pair)
    series = [
        # Dimensions are the case and a label may be renamed: the newest name is the one people know.
        Series(operator=key[0], label=pairs[-1][0], provider=key[1], hardware=key[2], points=tuple(one for _, one in pairs))
        for key, pairs in groups.items()
    ]
    return sorted(series, key=lambda one: (one.operator, one.label, one.provider, one.hardware))


def _points_of(header: Header, measurements: Sequence[Measurement]) -> dict[_Key, tuple[str, Point]]:
    """The points of one run with their labels."""
    groups: dict[_Key, list[Measurement]] = {}
    for one in measurements:
        dims = msgspec.json.encode(one.case.dims, order="sorted")
        groups.setdefault((one.case.operator, one.case.provider, header.hardware.name, dims), []).append(one)
    return {key: (same[-1].case.label, _point(same, header)) for key, same in groups.items()}


def _point(same: Sequence[Measurement], header: Header) -> Point:
    """The records of one case in one run as one: the medians of those that passed, or else the last."""
    passed = [one for one in same if one.status == "passed" and one.time]
    last = (passed or same)[-1]
    times = [one.time for one in passed if one.time] or [one.time for one in same[-1:] if one.time]
    shares = [one.efficiency for one in (passed or same[-1:]) if one.efficiency is not None]
    return Point(
        started=header.started,
        status=last.status,
        time=_together(times) if times else None,
        efficiency=median(shares) if shares else None,
        environment=header.environment,
        mode=last.mode,
        cold=last.cold,
        packages=last.packages,
    )


def _together(times: Sequence[Estimate]) -> Estimate:
    return times[-1].replace(
        median=median(one.median for one in times), low=median(one.low for one in times), high=median(one.high for one in times)
    )


# -- levels -------------------------------------------------------------------------------------------------------------------


def mark(series: Series, last: int | None = None) -> list[Marked]:
    """The points of a series with their marks, or the last of them: levels come from all points all the same."""
    points = series.points
    marks = [Mark(changed=change) for change in [(), *(_changed(*pair) for pair in pairwise(points))]]
    conditions: dict[object, list[int]] = {}
    for i, point in enumerate(points):
        if point.timed is not None:
            conditions.setdefault((point.environment.key(), point.mode, point.cold), []).append(i)
    for places in conditions.values():
        for i, fitted in zip(places, _levels([points[i].timed or 0.0 for i in places]), strict=True):
            marks[i] = fitted.replace(changed=marks[i].changed)
    marked = [Marked(point=point, mark=one) for point, one in zip(points, marks, strict=True)]
    return marked[-last:] if last else marked


def _levels(seconds: Sequence[float]) -> list[Mark]:
    """A mark for each of some times in like conditions."""
    logs = [math.log(value) for value in seconds]
    odd = set(spikes(logs))
    pieces = segments(without_spikes(logs), default_penalty(logs))
    marks = [Mark(level=math.exp(piece.level), spike=i in odd) for piece in pieces for i in range(piece.start, piece.stop)]
    for before, after in pairwise(pieces):
        marks[after.start] = marks[after.start].replace(step=math.expm1(after.level - before.level))
    return marks


def _changed(before: Point, after: Point) -> tuple[str, ...]:
    clock = f"clock {before.mode} -> {after.mode}" if before.mode and after.mode and before.mode != after.mode else ""
    cache = f"cache {_cache(before)} -> {_cache(after)}" if None not in (before.cold, after.cold) else ""
    changes = differences(before.environment, after.environment)
    return (*changes, *filter(None, [clock, cache if before.cold != after.cold else ""]))


def _cache(point: Point) -> str:
    return "cold" if point.cold else "hot"
