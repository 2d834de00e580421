"""What ran on the device, each with the operation it was launched for and the step it belongs to."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from .events import LAUNCH, OP, Events
from .nest import Forest

#: Why a kernel has no operation.
GRAPH = "launched by a CUDA graph, which records no operations"
OUTSIDE = "launched outside of every recorded operation"
UNKNOWN = "its launch was not recorded"


class Piece(NamedTuple):
    """A stretch of device time."""

    #: step number; None where the trace has no steps
    step: int | None
    #: the operation it is of, a number of `Events.spans`; -1 where there is none, and then why
    op: int
    why: str
    #: the span whose scope and module it has; -1 where there is none
    at: int
    #: name of the kernel; of a CPU trace that of the operation
    name: str
    #: microseconds: how long, and from when
    length: float
    start: float
    #: number of the stream or thread
    place: int


class Steps:
    """Finds the step of a moment."""

    def __init__(self, steps: dict[int, tuple[float, float]]) -> None:
        self._found = sorted((start, end, number) for number, (start, end) in steps.items())
        self._starts = [start for start, _, _ in self._found]

    def at(self, moment: float) -> int | None:
        """The step that is under way; None outside of every one."""
        place = bisect_right(self._starts, moment) - 1
        return self._found[place][2] if place >= 0 and moment < self._found[place][1] else None


def pieces(events: Events, forest: Forest) -> Iterator[Piece]:
    """All device time of a trace; of a trace without a device each operation's own time, which makes up the CPU's."""
    steps = Steps(events.steps)
    yield from _of_device(events, forest, steps) if len(events.kernels) else _of_cpu(events, forest, steps)


def _of_cpu(events: Events, forest: Forest, steps: Steps) -> Iterator[Piece]:
    spans = events.spans
    for index in forest.order:
        name, start = events.signatures[spans.what[index]].name, spans.start[index]
        # Rounded times may leave a parent a nanosecond below nothing.
        yield Piece(steps.at(start), index, "", index, name, max(forest.own[index], 0.0), start, spans.place[index])


def _of_device(events: Events, forest: Forest, steps: Steps) -> Iterator[Piece]:
    spans, kernels, names = events.spans, events.kernels, events.names.words
    launches, ops = _by_number(events)
    for index in range(len(kernels)):
        launch = launches.get(kernels.correlation[index], -1)
        op, why = _operation(events, forest, index, launch, ops.get(kernels.external[index], -1))
        at = launch if launch >= 0 else op
        start = kernels.start[index]
        step = steps.at(spans.start[at] if at >= 0 else start)
        yield Piece(step, op, why, at, names[kernels.what[index]], kernels.length[index], start, kernels.place[index])


def _by_number(events: Events) -> tuple[dict[int, int], dict[int, int]]:
    """Launches by correlation and operations by external id, of those that a kernel names."""
    spans, kernels = events.spans, events.kernels
    correlations, externals = set(kernels.correlation) - {-1}, set(kernels.external) - {-1}
    launches: dict[int, int] = {}
    ops: dict[int, int] = {}
    columns: tuple[array[int], ...] = (spans.kind, spans.correlation, spans.external)
    for index, (kind, correlation, external) in enumerate(zip(*columns, strict=True)):
        if kind == LAUNCH and correlation in correlations:
            launches.setdefault(correlation, index)
        elif kind == OP and external in externals:
            ops.setdefault(external, index)
    return launches, ops


def _operation(events: Events, forest: Forest, kernel: int, launch: int, named: int) -> tuple[int, str]:
    """The operation of a kernel, by its external id, otherwise by what was under way where it was launched."""
    spans, kernels = events.spans, events.kernels
    if launch >= 0 and "GraphLaunch" in events.names.words[spans.what[launch]]:
        return -1, GRAPH
    # Kineto before October 2024 wrote a kernel's own correlation as the external id of one that has no operation.
    doubtful = kernels.external[kernel] == kernels.correlation[kernel]
    if named >= 0 and (launch < 0 or not doubtful or _encloses(events, named, launch)):
        return named, ""
    around = forest.op[launch] if launch >= 0 else -1
    if around >= 0:
        return around, ""
    return -1, OUTSIDE if launch >= 0 else UNKNOWN


def _encloses(events: Events, op: int, launch: int) -> bool:
    spans = events.spans
    begun = spans.start[op] <= spans.start[launch] < spans.start[op] + spans.length[op]
    return begun and spans.place[op] == spans.place[launch]
