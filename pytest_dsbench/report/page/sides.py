"""What the comparison of the page needs of a run: the times of its passed cases."""

import json
from typing import Any

from ...results import Collection, Source
from .data import Packed, columns, digits


def runs_that_fit(collection: Collection, packed: Packed, room: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The runs by device and time, as many of the newest as `room` bytes hold, and the names of those left out.

    A device with one run is compared by its newest results, which are the same.
    """
    runs = [
        (number, source)
        for number, device in enumerate(collection.devices)
        for source in device.sources
        if len(device.sources) > 1
    ]
    # A run that is left out costs its name.
    room -= sum(len(json.dumps(source.name)) + 1 for _, source in runs)
    kept: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    for number, source in sorted(runs, key=lambda run: run[1].header.started, reverse=True):
        side = _side(source, number, packed)
        room -= len(json.dumps(side, separators=(",", ":"))) + 1
        if room < 0 or left_out:
            left_out.append(source.name)
        else:
            kept[source.path] = side
    return [kept[source.path] for _, source in runs if source.path in kept], left_out


def _side(source: Source, device: int, packed: Packed) -> dict[str, Any]:
    passed = [one for one in source.results if one.measurement.status == "passed" and one.seconds]
    latest = {one.case.identity: one for one in passed}
    return {
        "name": source.name,
        "started": source.header.started,
        "device": device,
        **columns(
            {
                "case": lambda one: packed.cases[one.case.identity],
                "seconds": lambda one: digits(one.seconds),
                "low": lambda one: digits(one.interval[0]) if one.interval else None,
                "high": lambda one: digits(one.interval[1]) if one.interval else None,
                "efficiency": lambda one: digits(one.efficiency),
            },
            list(latest.values()),
        ),
    }
