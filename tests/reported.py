"""Runs made up for the tests of reports: real cases and data sheets, times computed from a share of T_SOL that is given.

Only the published production times of xpu_a are measurements: `published` makes a run of those.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pytest_dsbench import runs
from pytest_dsbench.environment import Environment
from pytest_dsbench.hardware import named
from pytest_dsbench.measurement import Measurement, Status, planned
from pytest_dsbench.record import to_line
from pytest_dsbench.roofline import bound
from pytest_dsbench.runs import End, Header, Line, Writer
from pytest_dsbench.shapes import Case, bundled, load
from pytest_dsbench.stats import Estimate


@cache
def cases() -> tuple[Case, ...]:
    """Every case that comes with the package."""
    return load(bundled()).cases


def header(hw: str = "h200", started: str = "2026-11-01T01:00:00", **environment: Any) -> Header:
    """The first line of a run on a GPU of that sheet."""
    sheet = named(hw)
    place = {"device": "cuda", "gpu": sheet.title, "driver": "580.1", "torch": "2.11", "locked_clock": 1.5e9, **environment}
    return Header(started=started, environment=Environment(**place), hardware=sheet, arguments=("benches",))


def record(
    case: Case,
    head: Header,
    efficiency: float | None = 0.5,
    provider: str = "triton",
    status: Status = "passed",
    width: float = 0.02,
    **others: Any,
) -> Measurement:
    """A record whose time is T_SOL / efficiency with an interval of +-width; without a time where efficiency is None."""
    work = case.op.work()
    limit = bound(work, head.hardware)
    time = None
    if efficiency is not None:
        middle = limit.seconds / efficiency
        time = Estimate(median=middle, low=middle * (1 - width), high=middle * (1 + width), n=30, stopped_by="precise")
    packages = {provider: "1.2.3"} if status != "skipped" else {}
    return Measurement(
        case=planned(case, provider, f"benches/bench_{case.op.category}.py::bench_{case.op.name}"),
        status=status,
        work=work,
        bound=limit,
        time=time,
        efficiency=efficiency,
        hardware=head.hardware.name,
        environment=head.environment.key(),
        **{"mode": "graph", "cold": True, "packages": packages, **others},
    )


def write(folder: Path, head: Header, lines: Iterable[Line], end: bool = True) -> Path:
    """A run file of these lines."""
    writer = Writer(folder, head)
    writer.close()
    found = list(lines)
    count = sum(isinstance(line, Measurement) for line in found)
    # All at once: a run flushes every line to the disk, and a test need not.
    with writer.path.open("ab") as file:
        file.writelines(to_line(line) for line in [*found, *([End(planned=count, produced=count)] if end else [])])
    return writer.path


def spread(case: Case, number: int) -> float:
    """An efficiency between 5 % and 95 % that differs from case to case and is the same every time."""
    del case
    return 0.05 + 0.9 * ((number * 0.6180339887) % 1.0)


def bounded(head: Header, count: int | None = None) -> list[Case]:
    """The first cases that the device has units for."""
    peak = head.hardware.peak
    found = [case for case in cases() if all(unit in peak for unit in case.op.work().flop)]
    return found[:count]


def run_of(
    folder: Path,
    head: Header,
    found: Iterable[Case],
    efficiency: Callable[[Case, int], float | None] = spread,
    **others: Any,
) -> Path:
    """A run of these cases, each with the efficiency that is computed from it and its number."""
    return write(folder, head, (record(case, head, efficiency(case, number), **others) for number, case in enumerate(found)))


def published(folder: Path) -> Path:
    """The 440 published production times of xpu_a as a run, held against our bounds."""
    head = header("xpu_a").replace(environment=Environment(device="cuda", gpu="XPU-A"), imported="the published shapes")
    return write(folder, head, _published(head))


def _published(head: Header) -> Iterator[Measurement]:
    for case in cases():
        known = case.provenance
        if known.id is None or known.production_us is None:
            continue
        limit = bound(case.op.work(), head.hardware)
        seconds = known.production_us * 1e-6
        time = Estimate(median=seconds, low=seconds, high=seconds, n=1, stopped_by="imported")
        provider = known.library or "production"
        one = record(case, head, limit.seconds / seconds, provider=provider, mode="imported", cold=None)
        yield one.replace(time=time)


def read(path: Path) -> runs.Run:
    """The run file, which must be whole."""
    found = runs.read(path)
    assert not found.complaints
    return found
