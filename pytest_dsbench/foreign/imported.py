"""Found rows as runs: one for each GPU they were measured on."""

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..environment import Environment
from ..hardware.sheet import Hardware
from ..measurement import Measurement
from ..mistake import Mistake
from ..record import Record, to_line
from ..runs import End, Header, Writer, timestamp
from .annotate import annotated, known_cases
from .found import Found, Unusable
from .gpus import Gpus


class Source(Record):
    """Where rows were read from, as the runs will say it."""

    #: one sentence with the files and the beginnings of their hashes
    sentence: str
    #: command line
    arguments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: when it was measured, where that is known of all of it, ISO 8601
    date: str | None = None


class Imported(Record):
    """One run that was made of them."""

    header: Header
    measurements: tuple[Measurement, ...]

    @property
    def repeated(self) -> int:
        """Records of a case that another record of the run measured already."""
        return len(self.measurements) - len({one.case.identity for one in self.measurements})


def assembled(rows: Iterable[Found | Unusable], source: Source, gpus: Gpus) -> tuple[list[Imported], list[Unusable]]:
    """The runs that rows make, by GPU, and the rows that cannot be used."""
    unusable: list[Unusable] = []
    groups: dict[str, tuple[Hardware, list[Found]]] = {}
    for row in rows:
        if isinstance(row, Unusable):
            unusable.append(row)
            continue
        try:
            sheet, note = gpus.of(row.gpu)
        except Mistake as error:
            unusable.append(Unusable(where=row.where, reason=str(error)))
            continue
        groups.setdefault(sheet.name, (sheet, []))[1].append(row.replace(notes=(*row.notes, note)) if note else row)
    made = [_run(sheet, group, source, unusable) for sheet, group in groups.values()]
    return [one for one in made if one.measurements], unusable


def _run(sheet: Hardware, rows: Sequence[Found], source: Source, unusable: list[Unusable]) -> Imported:
    environment = _environment(sheet, rows)
    known, key = known_cases(sheet.fp8_encoding), environment.key()
    records = []
    for row in rows:
        try:
            records.append(annotated(row, sheet, known, key))
        except Mistake as error:
            unusable.append(Unusable(where=row.where, reason=str(error)))
    started, note = _started(rows, source)
    header = Header(
        started=started,
        environment=environment.replace(started=started),
        hardware=sheet,
        arguments=source.arguments,
        notes=(*source.notes, *([note] if note else [])),
        planned=len(records),
        imported=source.sentence,
    )
    return Imported(header=header, measurements=tuple(records))


def _environment(sheet: Hardware, rows: Sequence[Found]) -> Environment:
    """What the files say of where it was measured, as far as they all say the same; the sheet's title for the GPU otherwise."""

    def agreed(values: Iterable[str | None]) -> str | None:
        found = set(values)
        return found.pop() if len(found) == 1 else None

    named = agreed(row.gpu for row in rows)
    gpu = sheet.title if named in (None, sheet.name) else named
    if sheet.kind == "cpu":
        return Environment(device="cpu", cpu=gpu, torch=agreed(row.torch for row in rows))
    return Environment(device="cuda", gpu=gpu, torch=agreed(row.torch for row in rows), cuda=agreed(row.cuda for row in rows))


def _started(rows: Sequence[Found], source: Source) -> tuple[str, str | None]:
    """When the run began: as it was said, or its first time with a date, or now, which a note says."""
    if source.date:
        return source.date, None
    dated = [row.at for row in rows if row.at is not None]
    if dated:
        return datetime.fromtimestamp(min(dated), UTC).isoformat(timespec="seconds").removesuffix("+00:00"), None
    return timestamp(), "when it was measured is not known: the run bears the time of its import"


def moment(text: str) -> datetime:
    """An ISO 8601 date or time; UTC where it does not say. Raises Mistake."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Mistake(f"{text!r} is no date; expected one such as 2025-06-01 or 2025-06-01T12:00:00") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def date(text: str) -> str:
    """The same as run files have it. Raises Mistake."""
    return moment(text).isoformat(timespec="seconds").removesuffix("+00:00")


def write(run: Imported, folder: Path) -> Path:
    """Writes one run file and returns its path. Raises Mistake where the folder cannot be written to."""
    try:
        writer = Writer(folder, run.header)
        writer.close()
        # Nothing is lost where this is cut off, so that one flush to the disk does for all lines.
        with writer.path.open("ab") as file:
            file.writelines(to_line(one) for one in run.measurements)
            file.write(to_line(End(planned=len(run.measurements), produced=len(run.measurements))))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Mistake(f"--out {folder}: cannot be written: {error.strerror}") from None
    return writer.path
