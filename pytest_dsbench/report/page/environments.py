"""Where the runs of a device took place: what all of them share, and what differs, run by run."""

import shlex
from collections.abc import Callable
from typing import Any

from ...environment import shown
from ...hardware.sheet import Hardware
from ...record import Record
from ...results import Collection, Device, Source
from ...units import show_bytes, show_number, show_rate, show_seconds


class Cell(Record):
    """A fact of a run."""

    text: str
    #: what it was in the run before, where it was something else
    was: str | None = None


class Row(Record):
    """One run."""

    source: Source
    command: str
    cells: tuple[Cell, ...]


class Sheet(Record):
    """The data sheet that T_SOL comes from, as text."""

    #: units with peak and ridge point
    units: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str], ...]


class Place(Record):
    """All runs of one device."""

    device: Device
    sheet: Sheet
    #: facts that are the same in all runs
    same: tuple[tuple[str, str], ...]
    #: names of those that are not
    differing: tuple[str, ...]
    #: the newest first
    rows: tuple[Row, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]


def _field(name: str) -> Callable[[Source], str]:
    return lambda source: shown(name, getattr(source.header.environment, name))


def _commit(source: Source) -> str:
    return (source.header.environment.commit or "none")[:12]


_FACTS: dict[str, Callable[[Source], str]] = {
    "GPU": _field("gpu"),
    "CPU": _field("cpu"),
    "GPU memory": _field("memory"),
    "SMs": _field("sms"),
    "driver": _field("driver"),
    "CUDA": _field("cuda"),
    "torch": _field("torch"),
    "power limit": _field("power_limit"),
    "locked clock": _field("locked_clock"),
    "highest clock": _field("max_clock"),
    "temperature at start": lambda one: _degrees(one.header.environment.temperature),
    "ECC": _field("ecc"),
    "MIG": _field("mig"),
    "cores": _field("affinity"),
    "threads": _field("threads"),
    "host": lambda one: one.header.environment.hostname or "none",
    "host CPU": _field("host_cpu"),
    "platform": lambda one: one.header.environment.platform or "none",
    "Python": lambda one: one.header.environment.python or "none",
    "commit": _commit,
    "pytest-dsbench": lambda one: one.header.environment.version or "none",
    "times from": lambda one: one.header.imported or "none",
    "environment key": lambda one: one.header.environment.key(),
}


def _degrees(value: int | None) -> str:
    return "none" if value is None else f"{value} °C"


def environments(collection: Collection) -> list[Place]:
    """Every device, in the order of the collection."""
    return [_place(device) for device in collection.devices]


def _place(device: Device) -> Place:
    facts = {name: [get(source) for source in device.sources] for name, get in _FACTS.items()}
    differing = tuple(name for name, values in facts.items() if len(set(values)) > 1)
    rows = [_row(device, number, [facts[name] for name in differing]) for number in range(len(device.sources))]
    last = device.sources[-1].header
    return Place(
        device=device,
        sheet=_sheet(device.hardware),
        # What no run knows is no fact.
        same=tuple((name, values[0]) for name, values in facts.items() if name not in differing and values[0] != "none"),
        differing=differing,
        rows=tuple(reversed(rows)),
        absent=last.absent,
        notes=last.notes,
    )


def _row(device: Device, number: int, facts: list[list[str]]) -> Row:
    source = device.sources[number]
    before = [values[number - 1] if number else values[0] for values in facts]
    cells = [
        Cell(text=values[number], was=None if values[number] == was else was) for values, was in zip(facts, before, strict=True)
    ]
    return Row(source=source, command=shlex.join(source.header.arguments), cells=tuple(cells))


def _sheet(sheet: Hardware) -> Sheet:
    known: dict[str, Any] = {
        "memory bandwidth": show_rate(sheet.bandwidth, "B/s"),
        "memory": sheet.memory and show_bytes(sheet.memory),
        "last-level cache": sheet.l2 and show_bytes(sheet.l2),
        "launch floor": sheet.launch_floor and show_seconds(sheet.launch_floor),
        "source": sheet.source + ("; computed from what the driver says, not read off a data sheet" if sheet.derived else ""),
    }
    return Sheet(
        units=tuple(
            (unit, show_rate(rate, "FLOP/s"), f"{show_number(sheet.ridge(unit))} FLOP/B") for unit, rate in sheet.peak.items()
        ),
        facts=tuple((name, value) for name, value in known.items() if value),
    )
