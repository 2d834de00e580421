"""results.json: a collection as one document in SI units, for whoever reads results without this package.

Its schema is docs/results.schema.json. Fields are only ever added; where one changes its meaning, `schema` is raised.
"""

from typing import Any, Literal

import msgspec

from ...environment import Environment
from ...hardware.sheet import Hardware
from ...measurement import Correctness
from ...record import Record
from ...results import Collection, Device, Result, Source
from ...score import SELECTIONS, entries, score
from ...verdict import Outcome

#: Version of the document.
SCHEMA: Literal[1] = 1


class Row(Record):
    """One case in one run, in seconds, bytes, FLOP and those per second; null where there is no figure."""

    #: the kernel under contract that ran, or else the operator
    kernel: str
    op: str
    #: kind of work, such as gemm
    category: str
    label: str
    dims: dict[str, Any]
    dtype: str | None
    tags: tuple[str, ...]
    #: of the operator in production, as published
    importance: float | None
    provider: str
    #: packages that ran, by name
    versions: dict[str, str]
    status: str
    reason: str | None
    notes: tuple[str, ...]
    #: median of one call, and its 95 % interval where there were samples for one
    time: float | None
    low: float | None
    high: float | None
    samples: int | None
    #: how it was timed, and whether each call met a cold cache
    mode: str | None
    cold: bool | None
    read_bytes: int | None
    written_bytes: int | None
    #: FLOP by unit
    flop: dict[str, int] | None
    #: FLOP per byte
    intensity: float | None
    flop_rate: float | None
    byte_rate: float | None
    #: shares of the device's peak arithmetic, over all units, and of its bandwidth
    share_of_compute: float | None
    share_of_bandwidth: float | None
    t_sol: float | None
    #: memory, compute or launch
    regime: str | None
    #: t_sol / time
    efficiency: float | None
    #: whether the efficiency may be compared: passed, and not from a warm cache
    counts: bool
    #: whether its time is that of launches
    floor_bound: bool
    correctness: Correctness | None
    #: keys of `devices` and `runs`
    device: str
    run: str
    #: path:line of the shape, and path::function of the bench
    where: str
    bench: str


class RunEntry(Record):
    """One run file."""

    path: str
    device: str
    #: UTC, ISO 8601
    started: str
    #: whether the run came to its end
    complete: bool
    #: of times that were measured elsewhere: where they come from
    imported: str | None
    arguments: tuple[str, ...]
    environment: Environment
    #: verdicts of the gate by outcome, where the run was held against a baseline
    verdicts: dict[Outcome, int]


class ScoreEntry(Record):
    """The importance-weighted score of the newest records of a device, each case by its fastest provider."""

    selection: str
    raw: float
    normalised: float
    operators: int
    importance: float


class DeviceEntry(Record):
    """One device, whose runs belong together."""

    key: str
    title: str
    #: the data sheet of its last run: FLOP/s, B/s, bytes, seconds
    hardware: Hardware
    #: FLOP per byte by unit
    ridge: dict[str, float]
    scores: tuple[ScoreEntry, ...]


class Document(Record):
    """The whole of results.json."""

    schema: Literal[1] = SCHEMA
    #: of pytest-dsbench
    version: str
    devices: tuple[DeviceEntry, ...]
    #: by the key that rows name
    runs: dict[str, RunEntry]
    results: tuple[Row, ...]
    #: what was left out or kept apart, a sentence each
    remarks: tuple[str, ...]


def document(collection: Collection, version: str) -> Document:
    """The collection as a document."""
    return Document(
        version=version,
        devices=tuple(_device(one) for one in collection.devices),
        runs={source.name: _run(source, device.key) for device in collection.devices for source in device.sources},
        results=tuple(row(one) for one in collection.results),
        remarks=collection.remarks,
    )


def as_json(found: Document) -> bytes:
    """The document as JSON, a line for each row: a season of nights has tens of thousands."""
    # No string can hold these letters: its quotes would be escaped.
    before, name, after = msgspec.json.encode(found.replace(results=())).partition(b'"results":[')
    return b"".join([before, name, b"\n", b",\n".join(map(msgspec.json.encode, found.results)), b"\n", after, b"\n"])


def row(one: Result) -> Row:
    """One record as a row."""
    found, work = one.measurement, one.measurement.work
    low, high = one.interval or (None, None)
    return Row(
        kernel=one.kernel,
        op=one.case.operator,
        category=one.category,
        label=one.case.label,
        dims=one.case.dims,
        dtype=one.dtype,
        tags=one.case.tags,
        importance=one.case.importance,
        provider=one.case.provider,
        versions=found.packages,
        status=found.status,
        reason=found.reason,
        notes=found.notes,
        time=one.seconds,
        low=low,
        high=high,
        samples=found.time.n if found.time else None,
        mode=found.mode,
        cold=found.cold,
        read_bytes=work.read if work else None,
        written_bytes=work.written if work else None,
        flop={str(unit): count for unit, count in work.flop.items()} if work else None,
        intensity=one.intensity,
        flop_rate=one.flop_rate,
        byte_rate=one.byte_rate,
        share_of_compute=one.share_of_compute,
        share_of_bandwidth=one.share_of_bandwidth,
        t_sol=one.t_sol,
        regime=one.regime,
        efficiency=one.efficiency,
        counts=one.counts,
        floor_bound=one.floor_bound,
        correctness=found.correctness,
        device=one.device,
        run=one.run,
        where=one.case.where,
        bench=one.case.bench,
    )


def _run(source: Source, device: str) -> RunEntry:
    outcomes = [one.outcome for one in source.verdicts]
    return RunEntry(
        path=source.path,
        device=device,
        started=source.header.started,
        complete=source.complete,
        imported=source.header.imported,
        arguments=source.header.arguments,
        environment=source.header.environment,
        verdicts={outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)},
    )


def _device(device: Device) -> DeviceEntry:
    found = entries(one.measurement for one in device.latest)
    scored = [one for selection in SELECTIONS if (one := score(found, selection)).operators]
    sheet = device.hardware
    return DeviceEntry(
        key=device.key,
        title=device.title,
        hardware=sheet,
        ridge={str(unit): sheet.ridge(unit) for unit in sheet.peak},
        scores=tuple(
            ScoreEntry(
                selection=one.selection,
                raw=one.raw,
                normalised=one.normalised,
                operators=len(one.operators),
                importance=one.importance,
            )
            for one in scored
        ),
    )
