"""Sums over traces: what each of our operators, each other operation and each kernel took, in seconds."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from ..record import Record
from .events import Events
from .link import Piece, Steps, pieces
from .mapping import Mapping
from .nest import Forest
from .owners import Groups, Key, Owners

#: What is kept of a trace's other keys beside single values; some have stacks of megabytes.
_KEPT = ("distributedInfo", "deviceProperties")


class Cell(Record):
    """Device time of one key, in one group, by one kernel."""

    group: str
    key: Key
    kernel: str
    launches: int
    seconds: float


class Step(Record):
    """One step of one trace; of a trace without steps all of it."""

    #: None of a trace without steps
    number: int | None
    #: seconds from its start to its end on the host
    wall: float
    #: seconds in which anything ran on the device; of a CPU trace, any operation
    busy: float
    #: sum of the device time, seconds: more than `busy` where streams overlap
    summed: float
    #: the same by key
    by_key: dict[Key, float]


class Part(Record):
    """What one trace file adds."""

    path: str
    #: rank in distributedInfo; None where there is none
    rank: int | None
    head: dict[str, Any]
    #: numbers of the devices that ran anything
    devices: tuple[int, ...]
    cpu: bool
    shapes: bool
    #: the steps that count
    steps: tuple[Step, ...]
    cells: tuple[Cell, ...]
    #: calls of operations by group and key
    calls: dict[tuple[str, Key], int]
    #: names of the operations of each key
    names: dict[Key, tuple[str, ...]]
    #: device time that no step that counts has, seconds
    outside: float
    complaints: tuple[str, ...]

    @property
    def label(self) -> str:
        """How its rank is shown."""
        return f"rank {self.rank}" if self.rank is not None else self.path

    @property
    def seconds(self) -> float:
        """Device time of the steps that count."""
        return sum(step.summed for step in self.steps)


class _Sums:
    """Sums in the making, in microseconds."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, Key, str], list[float]] = defaultdict(lambda: [0, 0.0])
        self.calls: dict[tuple[str, Key], int] = defaultdict(int)
        self.names: dict[Key, dict[str, None]] = defaultdict(dict)
        self.by_step: dict[int | None, dict[Key, float]] = defaultdict(lambda: defaultdict(float))
        self.spans: dict[int | None, list[tuple[float, float]]] = defaultdict(list)
        self.seen: set[int] = set()
        self.outside = 0.0


def part(events: Events, mapping: Mapping, numbers: frozenset[int] | None = None) -> Part:
    """The sums of one trace, over some of its steps or all of them."""
    forest = Forest(events.spans)
    owners, groups = Owners(events, forest, mapping), Groups(events, forest)
    chosen = frozenset(events.steps) if numbers is None else numbers & events.steps.keys()
    sums = _Sums()
    for piece in pieces(events, forest):
        if events.steps and piece.step not in chosen:
            sums.outside += piece.length
        else:
            _add(sums, piece, owners, groups.of(piece.at))
    cpu = not len(events.kernels)
    if cpu:
        _host_spans(sums, events, forest)
    info = events.head.get("distributedInfo")
    rank = info.get("rank") if isinstance(info, dict) else None
    words = (events.places.words[place] for place in set(events.kernels.place))
    return Part(
        path=str(events.path),
        rank=rank if isinstance(rank, int) else None,
        head={key: value for key, value in events.head.items() if key in _KEPT or not isinstance(value, (dict, list))},
        devices=tuple(sorted(device for _, device, _ in words if isinstance(device, int))),
        cpu=cpu,
        shapes=events.shapes,
        steps=tuple(_steps(events, chosen, sums)),
        cells=tuple(
            Cell(group=group, key=key, kernel=kernel, launches=int(launches), seconds=total * 1e-6)
            for (group, key, kernel), (launches, total) in sums.cells.items()
        ),
        calls=dict(sums.calls),
        names={key: tuple(names) for key, names in sums.names.items()},
        outside=sums.outside * 1e-6,
        complaints=tuple(events.complaints),
    )


def _add(sums: _Sums, piece: Piece, owners: Owners, group: str) -> None:
    owner, key = owners.of(piece)
    cell = sums.cells[group, key, piece.name]
    cell[0] += 1
    cell[1] += piece.length
    sums.by_step[piece.step][key] += piece.length
    if owner < 0:
        sums.calls[group, key] += 1
    elif owner not in sums.seen:
        sums.seen.add(owner)
        sums.calls[group, key] += 1
        sums.names[key][owners.name(owner)] = None
    if owners.device:
        sums.spans[piece.step].append((piece.start, piece.start + piece.length))


def _host_spans(sums: _Sums, events: Events, forest: Forest) -> None:
    """Of a CPU trace the operations that no other encloses: what is inside them is not time of its own."""
    steps, spans = Steps(events.steps), events.spans
    for index in forest.order:
        if forest.op[index] < 0:
            start = spans.start[index]
            sums.spans[steps.at(start)].append((start, start + spans.length[index]))


def _steps(events: Events, chosen: frozenset[int], sums: _Sums) -> Iterator[Step]:
    bounds: dict[int | None, tuple[float, float]] = {number: events.steps[number] for number in sorted(chosen)}
    for number, (start, end) in (bounds if events.steps else {None: (events.first, events.last)}).items():
        by_key = {key: total * 1e-6 for key, total in sums.by_step[number].items()}
        yield Step(
            number=number,
            wall=(end - start) * 1e-6,
            busy=union(sums.spans[number]) * 1e-6,
            summed=sum(by_key.values()),
            by_key=by_key,
        )


def union(spans: Iterable[tuple[float, float]]) -> float:
    """How long any of some stretches of time lasts."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
