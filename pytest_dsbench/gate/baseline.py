"""Baselines: what a case took in the nights that were accepted. `baselines/<hardware>/<operator>.jsonl`, kept in git.

A file has one line for each environment its entries come from, then one line for each case and provider, sorted.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from ..anchors import Anchors
from ..environment import Environment
from ..measurement import OWN, PROTOCOL, Planned
from ..mistake import Mistake
from ..record import Record, from_line, to_line

VERSION = 1
#: No bar moves further than this in ln T.
_FAR = 50.0


class Night(Record, omit_defaults=True):
    """One accepted night of one case. Times in seconds, rounded to six digits."""

    #: when its run began: ISO 8601, UTC
    at: str
    commit: str | None = None
    #: medians of its passes, and the 95 % interval of the first
    passes: tuple[float, ...]
    low: float
    high: float
    anchors: Anchors
    #: seconds of the anchor of its bound, interpolated in time; with `passes` all the gate needs
    anchor: float
    packages: dict[str, str] = {}
    #: what is added to ln T of this night since the bar was moved: ln(new bar / old bar)
    shift: float = 0.0

    @property
    def seconds(self) -> float:
        """The median over its passes."""
        return median(self.passes)

    @property
    def level(self) -> float:
        """ln of its time over its anchor, moved with the bar."""
        return log(self.seconds) - log(self.anchor) + self.shift


class Golden(Record, omit_defaults=True):
    """What creep is measured against: the level of the first accepted nights, or of the night on which the bar was moved."""

    at: str
    commit: str | None = None
    level: float
    seconds: float


class Entry(Record, tag_field="kind", tag="entry"):
    """One case and provider: one line of a baseline."""

    v: int = VERSION
    operator: str
    dims: dict[str, Any]
    label: str
    provider: str
    bench: str = ""
    #: key of the environment of all its nights, and how they were timed
    key: str
    mode: str
    cold: bool
    protocol: int = PROTOCOL
    #: T_SOL in seconds of the last accepted night, and which anchor goes with it
    t_sol: float
    by: str
    golden: Golden | None = None
    #: CUSUM of t against the golden entry, after the last accepted night
    creep: float = 0.0
    window: tuple[Night, ...]
    #: a night that was suspected and not accepted; should the next one repeat it, it is no accident
    pending: Night | None = None
    #: why the bar was moved, and when
    notes: tuple[str, ...] = ()

    @property
    def case(self) -> Planned:
        """The case as a run would name it."""
        return Planned(
            operator=self.operator, dims=self.dims, label=self.label, where="", provider=self.provider, bench=self.bench
        )

    @property
    def identity(self) -> str:
        """As of Planned."""
        return self.case.identity

    @property
    def level(self) -> float:
        """The median level of the window."""
        return median(night.level for night in self.window)

    @property
    def seconds(self) -> float:
        """The median time of the window, moved with the bar."""
        return median(night.seconds * exp(night.shift) for night in self.window)


class Place(Record, tag_field="kind", tag="environment"):
    """An environment that entries of this file come from."""

    v: int = VERSION
    key: str
    environment: Environment


class Baseline(Record):
    """Everything that was accepted on one hardware."""

    #: what it is called in sentences: a folder, a file or a git revision
    source: str
    #: name of the data sheet
    hardware: str | None = None
    entries: dict[str, Entry] = {}
    environments: dict[str, Environment] = {}
    #: a sentence for each line that could not be read, and the operators whose files hold one: those are not overwritten
    complaints: tuple[str, ...] = ()
    damaged: dict[str, str] = {}
    #: false for the single run that stands in for a history
    history: bool = True


def texts(source: str, hardware: str | None, files: Mapping[str, bytes]) -> Baseline:
    """The baseline in these files, by name. Good lines are used; a bad one becomes a complaint that names it."""
    entries: dict[str, Entry] = {}
    environments: dict[str, Environment] = {}
    damaged: dict[str, str] = {}
    complaints: list[str] = []
    for name, text in sorted(files.items()):
        newer = False
        for number, line in enumerate(text.splitlines(), 1):
            try:
                value = _line(line, f"{name}:{number}")
                if isinstance(value, Entry) and value.identity in entries:
                    raise Mistake(f"{name}:{number}: {value.case.name} stands here a second time; the first one is used")
            except Mistake as error:
                if not (newer and isinstance(error, _Newer)):
                    complaints.append(str(error))
                newer |= isinstance(error, _Newer)
                # Whoever writes this file again would lose the line, and a case may stand in a file of another operator.
                damaged.setdefault(Path(name).stem, str(error))
                continue
            if isinstance(value, Place):
                environments[value.key] = value.environment
            else:
                entries[value.identity] = value
    return Baseline(
        source=source,
        hardware=hardware,
        entries=entries,
        environments=environments,
        complaints=tuple(complaints),
        damaged=damaged,
    )


def folder(path: Path, hardware: str) -> Baseline:
    """The baseline of `hardware` in a folder of baselines; empty where there is none yet."""
    found = sorted((path / hardware).glob("*.jsonl"))
    return texts(f"{path.name}/{hardware}", hardware, {str(one): contents(one) for one in found})


def contents(path: Path) -> bytes:
    """The bytes of a file. Raises Mistake where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None


class _Newer(Mistake):
    """A line of a version to come: one sentence says it of the whole file."""


class _Version(msgspec.Struct):
    v: int = 0


def _line(line: bytes, where: str) -> Entry | Place:
    stamp: _Version = from_line(line, _Version, where)
    if stamp.v > VERSION:
        raise _Newer(
            f"{where}: baseline version {stamp.v} is newer than {VERSION}, the newest this version reads; update pytest-dsbench"
        )
    value: Entry | Place = from_line(line, Entry | Place, where)
    if isinstance(value, Entry):
        _check(value, where)
    return value


def _check(entry: Entry, where: str) -> None:
    """Raises Mistake for what no run could have written: an empty window, a time that is none."""
    if not entry.window:
        raise Mistake(f"{where}: {entry.case.name} has no accepted night")
    for night in (*entry.window, *([entry.pending] if entry.pending else [])):
        times = (*night.passes, night.low, night.high, night.anchor, entry.t_sol)
        if not night.passes or min(times) <= 0 or abs(night.shift) > _FAR:
            raise Mistake(f"{where}: {entry.case.name}: the night of {night.at} has no passes, or a time or shift that cannot be")


def is_baseline(text: bytes) -> bool:
    """Whether a file's first readable line is one of a baseline, not of a run."""
    for line in text.splitlines():
        try:
            return msgspec.json.decode(line, type=_Kind).kind in ("entry", "environment")
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return False


class _Kind(msgspec.Struct):
    kind: str = ""


def write(path: Path, baseline: Baseline, operators: Iterable[str]) -> list[Path]:
    """Writes the files of these operators into `path`/<hardware>. Each is replaced as a whole or not at all. Raises Mistake."""
    assert baseline.hardware is not None
    place = path / baseline.hardware
    written = []
    for operator in sorted(set(operators)):
        file = place / f"{operator}.jsonl"
        lines = list(_lines(baseline, operator))
        try:
            if lines:
                place.mkdir(parents=True, exist_ok=True)
                replace(file, b"".join(lines))
            else:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise Mistake(f"{file}: cannot be written: {error.strerror or error}; it is as it was") from None
        written.append(file)
    return written


def _lines(baseline: Baseline, operator: str) -> Iterator[bytes]:
    chosen = sorted((one for one in baseline.entries.values() if one.operator == operator), key=_order)
    for key in sorted({one.key for one in chosen} & baseline.environments.keys()):
        yield to_line(Place(key=key, environment=baseline.environments[key]))
    for one in chosen:
        yield to_line(one.replace(v=VERSION))


def _order(entry: Entry) -> tuple[Any, ...]:
    """By dimensions, numbers as numbers, then by provider."""
    dims = [(name, _comparable(value)) for name, value in sorted(entry.dims.items())]
    return dims, entry.provider, entry.label if entry.provider == OWN else ""


def _comparable(value: Any) -> tuple[Any, ...]:
    """Numbers as numbers, also those in a list; then lists, then all else as it is written."""
    if isinstance(value, list):
        return 1, [_comparable(one) for one in value]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (0, value) if number else (2, msgspec.json.encode(value).decode())


def replace(path: Path, text: bytes) -> None:
    """Replaces a file as a whole: whoever is interrupted, or reads at the same time, has the old one or the new one."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads; these belong into a repository.
        Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
