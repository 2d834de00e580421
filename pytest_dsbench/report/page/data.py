"""The data of the page: the newest record of every case on every device, in columns, every text once.

Numbers have six significant digits, in seconds, FLOP and bytes per second; null is what is not known.
"""

import math
from collections.abc import Callable
from typing import Any, get_args

from ...measurement import Planned, Status
from ...operator import ordered
from ...record import Record
from ...results import Collection, Device, Result
from ...results.result import Standing

STATUSES: tuple[str, ...] = get_args(Status)
STANDINGS: tuple[str, ...] = get_args(Standing)


class Texts:
    """Numbers instead of texts that come again and again."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """The number of a text."""
        return self._numbers.setdefault(text, len(self._numbers))

    def maybe(self, text: str | None) -> int | None:
        """The same where there is a text."""
        return None if not text else self(text)

    @property
    def all(self) -> list[str]:
        """The texts by number."""
        return list(self._numbers)


class Packed(Record):
    """The data of the page without its comparison, and what the comparison needs of it."""

    data: dict[str, Any]
    #: number of a case by its identity
    cases: dict[str, int]


def digits(value: float | None) -> float | None:
    """Six significant digits; None for what is no finite number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def columns(of: dict[str, Callable[[Any], Any]], rows: list[Any]) -> dict[str, list[Any]]:
    """Rows as columns."""
    return {name: [get(row) for row in rows] for name, get in of.items()}


def pack(collection: Collection) -> Packed:
    """The collection as the script reads it."""
    newest = {one.case.identity: one for one in collection.results}
    categories = ordered(one.category for one in newest.values())
    texts, shapes = Texts(), Texts()
    cases = {identity: number for number, identity in enumerate(newest)}
    devices = {device.key: number for number, device in enumerate(collection.devices)}
    records = [one for device in collection.devices for one in device.latest]
    planned: dict[str, Callable[[Result], Any]] = {
        "operator": lambda one: texts(one.case.operator),
        "provider": lambda one: texts(one.case.provider),
        "category": lambda one: categories.index(one.category),
        "label": lambda one: texts(_label(one.case)),
        "shape": lambda one: shapes(one.case.shape),
    }
    data = {
        "categories": categories,
        "statuses": STATUSES,
        "standings": STANDINGS,
        "devices": [_device(device) for device in collection.devices],
        "cases": columns(planned, list(newest.values())),
        "records": columns(_recorded(texts, cases, devices), records),
    }
    return Packed(data=data | {"texts": texts.all}, cases=cases)


def _label(case: Planned) -> str:
    return case.label or ", ".join(f"{name} {value}" for name, value in case.dims.items())


def _device(device: Device) -> dict[str, Any]:
    sheet = device.hardware
    used = {unit for one in device.latest if one.measurement.work for unit in one.measurement.work.flop}
    return {
        "key": device.key,
        "title": device.title,
        "imported": device.imported,
        # Roofs that no case uses would only crowd the others.
        "peak": {unit: digits(rate) for unit, rate in sheet.peak.items() if unit in used},
        "bandwidth": digits(sheet.bandwidth),
    }


def _recorded(texts: Texts, cases: dict[str, int], devices: dict[str, int]) -> dict[str, Callable[[Result], Any]]:
    """The columns of a record."""
    return {
        "case": lambda one: cases[one.case.identity],
        "device": lambda one: devices[one.device],
        "run": lambda one: texts(one.run),
        "importance": lambda one: digits(one.case.importance),
        "tags": lambda one: texts.maybe(" ".join(one.case.tags)),
        "where": lambda one: texts.maybe(one.case.where),
        "status": lambda one: STATUSES.index(one.measurement.status),
        "standing": lambda one: STANDINGS.index(one.standing),
        "reason": lambda one: texts.maybe(one.measurement.reason),
        "notes": lambda one: [texts(note) for note in one.measurement.notes],
        "seconds": lambda one: digits(one.seconds),
        "low": lambda one: digits(one.interval[0]) if one.interval else None,
        "high": lambda one: digits(one.interval[1]) if one.interval else None,
        "t_sol": lambda one: digits(one.t_sol),
        "efficiency": lambda one: digits(one.efficiency),
        "counts": lambda one: int(one.counts),
        "compute": lambda one: digits(one.share_of_compute),
        "bandwidth": lambda one: digits(one.share_of_bandwidth),
        "flops": lambda one: digits(one.flop_rate),
        "bytes": lambda one: digits(one.byte_rate),
        "intensity": lambda one: digits(one.intensity),
        "regime": lambda one: texts.maybe(one.regime),
        "unit": lambda one: texts.maybe(one.unit),
        "mode": lambda one: texts.maybe(_clock(one)),
        "versions": lambda one: texts.maybe(one.versions),
    }


def _clock(one: Result) -> str:
    """How it was timed, such as "graph, cold"."""
    cache = {True: "cold cache", False: "warm cache", None: ""}[one.measurement.cold]
    return ", ".join(part for part in (one.measurement.mode or "", cache) if part)
