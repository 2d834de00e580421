"""Run files: one JSON line for the run, one per case appended as the case ends, one when the run is over.

Every planned case has a line: one that was not run says why. While a run goes on its plan lies beside it, so that whoever
ends it knows what was planned. A run whose process came to a sudden end is completed by its guard; where that was killed too,
it lacks its last line and is as readable as any other.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from .environment import Environment
from .hardware.sheet import Hardware
from .measurement import VERSION, Measurement, Planned
from .mistake import Mistake
from .record import Record, from_line, to_line
from .thresholds import Thresholds
from .verdict import Confirmation, Verdict

#: Suffix of the plan of a run that goes on.
_PLAN = ".plan"


class Coverage(Record):
    """What a run set out to collect: only of these cases can it be said that they are missing."""

    #: folders and files that were asked for, relative to the root; "" is the root itself
    paths: tuple[str, ...] = ()
    #: operators and benches of which some cases were left out, by -k and the like
    partial: tuple[str, ...] = ()
    #: providers that were asked for; empty for all but those that run only when they are
    providers: tuple[str, ...] = ()
    opt_in: tuple[str, ...] = ()

    def holds(self, operator: str, provider: str, bench: str) -> bool:
        """Whether a case of this kind would have been collected."""
        path = bench.partition("::")[0]
        asked = any(not place or path == place or path.startswith(f"{place}/") for place in self.paths)
        wanted = provider in self.providers if self.providers else provider not in self.opt_in
        return asked and operator not in self.partial and wanted


class Header(Record, tag_field="kind", tag="run"):
    """The first line of a run file: where the run took place."""

    v: int = VERSION
    #: UTC, ISO 8601
    started: str
    environment: Environment
    hardware: Hardware
    #: command line
    arguments: tuple[str, ...] = ()
    #: providers that could not run here, a sentence each
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    coverage: Coverage = Coverage()
    #: benches that were selected
    planned: int = 0
    #: of the gate, as the ini file had them
    limits: Thresholds = Thresholds()
    #: of times that were measured elsewhere: which files they were read from
    imported: str | None = None


class End(Record, tag_field="kind", tag="end"):
    """The last line: whether every planned case has a record."""

    v: int = VERSION
    #: benches that were selected, and records there are
    planned: int
    produced: int
    #: node ids of planned benches that were not run; each has a record that says why
    not_run: tuple[str, ...] = ()


Line = Header | Measurement | Confirmation | Verdict | End


class Run(Record):
    """A run file that was read: what is good in it, and a sentence for every line that is not."""

    path: str
    header: Header | None
    measurements: tuple[Measurement, ...]
    end: End | None
    confirmations: tuple[Confirmation, ...] = ()
    #: what the gate said, where the run was held against a baseline
    verdicts: tuple[Verdict, ...] = ()
    complaints: tuple[str, ...] = ()


class Writer:
    """Appends to one run file. Every line is flushed to the disk before the next case begins."""

    def __init__(self, folder: Path, header: Header) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stamp = f"{header.started.replace('-', '').replace(':', '')[:15]}Z-{header.hardware.name}"
        self.path, self._file = _create(folder, stamp)
        self.append(header)

    def append(self, line: Line) -> None:
        """Writes one line."""
        self._file.write(to_line(line))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _create(folder: Path, stamp: str) -> tuple[Path, BinaryIO]:
    """A new file, numbered where another run began in the same second."""
    for number in range(1, 1000):
        path = folder / (f"{stamp}.jsonl" if number == 1 else f"{stamp}-{number}.jsonl")
        try:
            return path, path.open("xb")
        except FileExistsError:
            continue
    raise Mistake(f"{folder}: a thousand runs began at {stamp}")


def keep_plan(path: Path, planned: Mapping[str, Planned]) -> None:
    """Lays the plan of a run, cases by node id, beside its file."""
    path.with_suffix(_PLAN).write_bytes(to_line(planned))


def kept_plan(path: Path) -> dict[str, Planned] | None:
    """The plan beside a run file, while there is one."""
    plan = path.with_suffix(_PLAN)
    return from_line(plan.read_bytes(), dict[str, Planned], str(plan)) if plan.is_file() else None


def without_plan(path: Path) -> None:
    """The run is over: its file says itself what was planned."""
    with suppress(FileNotFoundError):
        path.with_suffix(_PLAN).unlink()


def timestamp() -> str:
    """Now, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00")


def read(path: Path) -> Run:
    """Reads a run file. Good lines are used; a bad one becomes a complaint that names it. Raises Mistake for a missing file."""
    if not path.is_file():
        raise Mistake(f"{path}: no such run file")
    lines: dict[type[Any], list[Any]] = {Header: [], Measurement: [], Confirmation: [], Verdict: [], End: []}
    complaints: list[str] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            value = _line(line, f"{path}:{number}")
        except Mistake as error:
            complaints.append(str(error))
        else:
            lines[type(value)].append(value)
    return Run(
        path=str(path),
        header=lines[Header][-1] if lines[Header] else None,
        measurements=tuple(lines[Measurement]),
        end=lines[End][-1] if lines[End] else None,
        confirmations=tuple(lines[Confirmation]),
        verdicts=tuple(lines[Verdict]),
        complaints=tuple(complaints),
    )


class _Version(msgspec.Struct):
    v: int = 0


def _line(line: bytes, where: str) -> Line:
    stamp: _Version = from_line(line, _Version, where)
    if stamp.v > VERSION:
        raise Mistake(
            f"{where}: format version {stamp.v} is newer than {VERSION}, the newest this version reads; update pytest-dsbench"
        )
    value: Line = from_line(line, Line, where)
    return value
