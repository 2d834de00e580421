"""The events of one trace as columns: some fifty bytes each, names and shapes kept once."""

import math
import re
from array import array
from pathlib import Path
from typing import Any

from ..record import Record
from .stream import Source

#: Numbers of `Spans.kind`.
OP, SCOPE, MODULE, LAUNCH = range(4)

_STEP = re.compile(r"ProfilerStep#(\d+)")
_MODULE = "nn.Module: "
_DEVICE_CATS = {"kernel", "gpu_memcpy", "gpu_memset", "memcpy", "memset"}
_OP_CATS = {"cpu_op", "operator"}
_LAUNCH_CATS = ("_runtime", "_driver", "runtime")


class Signature(Record):
    """An operation and the inputs that were recorded of it."""

    #: such as aten::mm
    name: str
    #: dims, type and value of each input as the profiler wrote them; None where shapes were not recorded
    dims: tuple[Any, ...] | None = None
    types: tuple[Any, ...] = ()
    #: None in traces of torch before 2.1, which has no values
    values: tuple[Any, ...] | None = None


class Words:
    """Words by number, each kept once."""

    def __init__(self) -> None:
        self.words: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def __call__(self, word: Any) -> int:
        """The number of a word."""
        number = self._numbers.get(word)
        if number is None:
            number = self._numbers[word] = len(self.words)
            self.words.append(word)
        return number


class Columns:
    """Events of one sort; times in microseconds, as in the file."""

    def __init__(self) -> None:
        self.kind = array("b")
        #: number of the thread, or of the device's stream
        self.place = array("l")
        self.start = array("d")
        self.length = array("d")
        #: number of the signature or name
        self.what = array("l")
        #: "External id" and "correlation"; -1 where there is none
        self.external = array("q")
        self.correlation = array("q")

    def add(self, kind: int, place: int, start: float, length: float, what: int, external: int, correlation: int) -> None:
        """One event more."""
        self.kind.append(kind)
        self.place.append(place)
        self.start.append(start)
        self.length.append(length)
        self.what.append(what)
        self.external.append(external)
        self.correlation.append(correlation)

    def __len__(self) -> int:
        return len(self.start)


class Events:
    """What one trace file holds, as far as it is used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        #: operations, annotations and modules of all threads, and what launched something
        self.spans = Columns()
        #: what ran on a device
        self.kernels = Columns()
        self.signatures: list[Signature] = []
        self.names = Words()
        self.places = Words()
        #: by step number: start and end in microseconds
        self.steps: dict[int, tuple[float, float]] = {}
        #: first start and last end of anything that is used, microseconds
        self.first, self.last = math.inf, -math.inf
        self.head: dict[str, Any] = {}
        self.complaints: list[str] = []
        self.count = 0
        self._odd = Odd()
        self._numbers: dict[tuple[str, str], int] = {}

    @property
    def shapes(self) -> bool:
        """Whether inputs were recorded."""
        return any(one.dims is not None for one in self.signatures)

    def take(self, event: dict[str, Any]) -> None:
        """Keeps an event, where it is of use."""
        if event.get("ph") != "X":
            return
        cat, name = event.get("cat"), event.get("name")
        if not isinstance(cat, str) or not isinstance(name, str):
            return
        cat = cat.lower()
        kind = _kind(cat, name)
        if kind is None:
            return
        start, length, args = _time(event.get("ts")), _time(event.get("dur", 0)), event.get("args") or {}
        if start is None or length is None or length < 0 or not isinstance(args, dict):
            self._odd.note(event)
            return
        self.first, self.last = min(self.first, start), max(self.last, start + length)
        # Two spellings: "External id" since torch 1.13, "external id" before.
        external = _number(args.get("External id", args.get("external id")))
        correlation = _number(args.get("correlation"))
        if kind < 0:
            device, stream = args.get("device", event.get("pid")), args.get("stream", event.get("tid"))
            place = self.places(("stream", device if isinstance(device, int) else str(device), str(stream)))
            self.kernels.add(0, place, start, length, self.names(name), external, correlation)
            return
        step = _STEP.fullmatch(name) if kind != LAUNCH else None
        if step:
            known = self.steps.get(int(step[1]), (start, start + length))
            self.steps[int(step[1])] = min(known[0], start), max(known[1], start + length)
            return
        what = self._signature(name, args) if kind == OP else self.names(name.removeprefix(_MODULE))
        place = self.places(("thread", str(event.get("pid")), str(event.get("tid"))))
        self.spans.add(kind, place, start, length, what, external, correlation)

    def finish(self, source: Source) -> None:
        """Takes over what is known once the file has been read."""
        self.head, self.count = source.head, source.count
        self.complaints = [*source.complaints, *self._odd.sentences(self.path)]

    def _signature(self, name: str, args: dict[str, Any]) -> int:
        dims, types, values = args.get("Input Dims"), args.get("Input type", ()), args.get("Concrete Inputs")
        key = (name, f"{dims}{types}{values}" if dims is not None else "")
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.signatures)
            self.signatures.append(
                Signature(
                    name=name,
                    dims=tuple(dims) if isinstance(dims, list) else None,
                    types=tuple(types) if isinstance(types, list) else (),
                    values=tuple(values) if isinstance(values, list) else None,
                )
            )
        return number


class Odd:
    """Events whose times cannot be: counted, and the first one named."""

    def __init__(self) -> None:
        self._count, self._first = 0, ""

    def note(self, event: dict[str, Any]) -> None:
        """One more."""
        self._first = self._first or f"{event.get('name')!r}, has ts {event.get('ts')!r} and dur {event.get('dur')!r}"
        self._count += 1

    def sentences(self, path: Path) -> list[str]:
        """What to say of them."""
        if not self._count:
            return []
        what = "event without a possible time is" if self._count == 1 else "events without a possible time are"
        return [f"{path}: {self._count:,} {what} left out: the first, {self._first}"]


def read(path: Path) -> Events:
    """Reads a trace, streamed. Raises Mistake where the file is none."""
    events, source = Events(path), Source(path)
    for event in source:
        events.take(event)
    events.finish(source)
    return events


def _kind(cat: str, name: str) -> int | None:
    """The kind of an event's span, -1 for what ran on a device, None for what is not used."""
    if cat in _OP_CATS:
        return OP
    if cat in _DEVICE_CATS:
        return -1
    if cat.endswith(_LAUNCH_CATS):
        return LAUNCH
    if cat == "user_annotation":
        return SCOPE
    return MODULE if cat == "python_function" and name.startswith(_MODULE) else None


def _time(value: object) -> float | None:
    """A time in microseconds, with nanoseconds behind the point; None for what is none."""
    if isinstance(value, float) and math.isfinite(value):
        return value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63 else -1
