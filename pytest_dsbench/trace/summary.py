"""Several traces of one workload: their ranks kept apart in totals, their dimensions and calls merged."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..hardware import sheets
from ..hardware.detect import covers
from ..hardware.device import Device
from ..hardware.sheet import Hardware
from ..mistake import Mistake
from ..record import Record
from ..roofline import bound
from .events import read
from .mapping import Mapping
from .owners import Key
from .totals import Part, part


class Line(Record):
    """One key over all parts."""

    key: Key
    #: names of the operations that were recorded
    names: tuple[str, ...]
    calls: int
    #: device time, seconds
    seconds: float
    #: launches and seconds by kernel
    kernels: dict[str, tuple[int, float]]
    #: seconds per step of each rank, in the order of the parts
    per_rank: tuple[float, ...]
    #: seconds of each step, rank by rank
    per_step: tuple[tuple[float, ...], ...]

    @property
    def mean(self) -> float:
        """Seconds per call."""
        return self.seconds / self.calls if self.calls else 0.0


class Summary(Record):
    """What some traces say together."""

    parts: tuple[Part, ...]
    #: from the longest to the shortest
    lines: tuple[Line, ...]

    @property
    def cpu(self) -> bool:
        """Whether the device time is that of the CPU."""
        return self.parts[0].cpu

    @property
    def seconds(self) -> float:
        """Device time of all parts."""
        return sum(one.seconds for one in self.parts)

    @property
    def steps(self) -> int:
        """Steps of all parts; a trace without steps is one."""
        return sum(len(one.steps) for one in self.parts)

    def share(self, seconds: float) -> float:
        """The share of a time in all device time."""
        return seconds / self.seconds if self.seconds else 0.0

    def of(self, kind: str) -> tuple[Line, ...]:
        """The lines of a kind."""
        return tuple(line for line in self.lines if line.key.kind == kind)

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices that ran anything, as deviceProperties describes them; equal ones once."""
        found = [device for one in self.parts for device in _devices(one)]
        return tuple({(one.name, one.memory, one.sms): one for one in found}.values())

    def sheet(self) -> Hardware | None:
        """The data sheet of the device; None of a CPU trace, of several kinds of device, and where no sheet covers it."""
        if self.cpu or len(self.devices) != 1:
            return None
        fitting = [sheet for sheet in sheets().values() if covers(sheet, self.devices[0])]
        return min(fitting, key=lambda sheet: (len(sheet.name), sheet.name), default=None)


def summarise(paths: Sequence[Path], mapping: Mapping, steps: str | None = None) -> Summary:
    """Reads traces one after the other, and sums them up. Raises Mistake where they cannot be used, or not together."""
    _distinct(paths)
    wanted = chosen(steps) if steps is not None else None
    parts: list[Part] = []
    for path in paths:
        events = read(path)
        if not len(events.spans) and not len(events.kernels):
            raise Mistake(
                f"{path}: a trace without operations and kernels (of {events.count:,} events); "
                "the profiler has recorded nothing: check its activities and its schedule"
            )
        numbers = frozenset(filter(wanted, events.steps)) if wanted is not None else None
        if numbers is not None and not numbers:
            known = _ranges(events.steps) if events.steps else "none, for nothing called profiler.step()"
            raise Mistake(f"--steps {steps}: {path} has no such step; known: {known}")
        parts.append(part(events, mapping, numbers))
    _fitting(parts)
    if not any(one.seconds for one in parts):
        raise Mistake(f"{', '.join(one.path for one in parts)}: no device time in the steps that were asked for")
    return Summary(parts=tuple(parts), lines=tuple(_lines(parts)))


def _lines(parts: Sequence[Part]) -> list[Line]:
    calls: dict[Key, int] = defaultdict(int)
    names: dict[Key, dict[str, None]] = defaultdict(dict)
    kernels: dict[Key, dict[str, tuple[int, float]]] = defaultdict(dict)
    for one in parts:
        for (_, key), count in one.calls.items():
            calls[key] += count
        for key, some in one.names.items():
            names[key] |= dict.fromkeys(some)
        for cell in one.cells:
            launches, seconds = kernels[cell.key].get(cell.kernel, (0, 0.0))
            kernels[cell.key][cell.kernel] = launches + cell.launches, seconds + cell.seconds
    found = [
        Line(
            key=key,
            names=tuple(names.get(key, ())) or (key.name,),
            calls=calls[key],
            seconds=sum(seconds for _, seconds in by_name.values()),
            kernels=by_name,
            per_rank=tuple(_mean([step.by_key.get(key, 0.0) for step in one.steps]) for one in parts),
            per_step=tuple(tuple(step.by_key.get(key, 0.0) for step in one.steps) for one in parts),
        )
        for key, by_name in kernels.items()
    ]
    return sorted(found, key=lambda line: -line.seconds)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def t_sol(line: Line, hardware: Hardware | None) -> float | None:
    """T_SOL of one call, seconds; None where there is no operator or no sheet, or the device lacks the unit."""
    if line.key.op is None or hardware is None:
        return None
    try:
        return bound(line.key.op.work(), hardware).seconds
    except Mistake:
        return None


def chosen(text: str) -> Callable[[int], bool]:
    """Reads "3-5", "3-", "3" or "3,5-7" as a condition on step numbers. Raises Mistake."""
    ranges = []
    for item in text.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*(-?)\s*(\d*)\s*", item)
        if found is None or (found[3] and not found[2]) or (found[3] and int(found[3]) < int(found[1])):
            raise Mistake(f"--steps {text}: {item!r} names no steps; expected such as 3-5, 3- or 3,5")
        first = int(found[1])
        ranges.append((first, int(found[3]) if found[3] else float("inf") if found[2] else first))
    return lambda number: any(first <= number <= last for first, last in ranges)


def _ranges(numbers: Iterable[int]) -> str:
    """{3, 4, 5, 9} as "3-5, 9"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _distinct(paths: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in paths:
        first = seen.setdefault(path.resolve(), path)
        if first is not path:
            raise Mistake(f"{path} is given twice{f', first as {first}' if str(first) != str(path) else ''}; leave one out")


def _fitting(parts: Sequence[Part]) -> None:
    """Raises Mistake for traces that cannot be added up."""
    if len({one.cpu for one in parts}) > 1:
        host, device = (next(one.path for one in parts if one.cpu is cpu) for cpu in (True, False))
        raise Mistake(f"{host} has no device time and {device} has; traces of a CPU and of a GPU cannot be added up")
    for number, one in enumerate(parts):
        for other in parts[:number]:
            if one.rank is None or one.rank != other.rank:
                continue
            both = {step.number for step in one.steps} & {step.number for step in other.steps}
            if both:
                # Several cycles of one rank's schedule are files of other steps.
                shared = f"and both have {'no steps' if None in both else f'step {min(both, key=str)}'}"
                raise Mistake(f"{other.path} and {one.path} are both of rank {one.rank} {shared}; give one file for each rank")


def _devices(one: Part) -> list[Device]:
    listed = one.head.get("deviceProperties")
    found = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    used = [entry for entry in found if entry.get("id") in one.devices]
    return [_device(entry) for entry in used if isinstance(entry.get("name"), str)]


def _device(entry: dict[str, object]) -> Device:
    memory, sms = entry.get("totalGlobalMem"), entry.get("numSms")
    return Device(
        kind="cuda",
        name=str(entry["name"]),
        memory=memory if isinstance(memory, int) else 0,
        sms=sms if isinstance(sms, int) else 0,
    )
