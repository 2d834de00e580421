"""Reads a published table: CSV, TSV or separated by semicolons, one measured row per line."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from ..mistake import Mistake
from ..operator import Operator
from ..operators import find
from ..record import Record
from ..stats import Estimate
from ..textfile import text_of
from ..units import show_seconds
from .columns import Columns, Timed, columns
from .config import Config
from .found import IMPORTED, Found, Unusable, single
from .values import count, duration

T = TypeVar("T")

_SEPARATORS = ",;\t|"
#: What a column "status" says of a row that is good.
_GOOD = ("", "ok", "pass", "passed", "success", "succeeded", "true")


class Row(Record):
    """The cells of one line by column."""

    where: str
    cells: dict[str, str]


class Table(Record):
    """A table that was read, and how."""

    rows: tuple[Row, ...]
    columns: Columns
    #: rows that are none: too many cells, or too few
    broken: tuple[Unusable, ...]


def read(path: Path, config: Config) -> Table:
    """The rows of a table. Raises Mistake, "path:line: what", where it cannot be read at all."""
    if config.operator is None:
        raise Mistake(f"{path}: which operator do its rows measure? --operator NAME says so, such as --operator block_scaled_mm")
    cls = find(config.operator)
    lines = _Lines(text_of(path))
    rows: list[Row] = []
    broken: list[Unusable] = []
    names: list[str] | None = None
    try:
        for cells in csv.reader(lines, delimiter=_separator(lines.first), strict=True, skipinitialspace=True):
            where = f"{path}:{lines.start()}"
            if names is None:
                names, at = _names(cells, where), where
            elif len(cells) == len(names):
                rows.append(Row(where=where, cells=dict(zip(names, cells, strict=True))))
            elif any(cell.strip() for cell in cells):
                broken.append(Unusable(where=where, reason=f"{len(cells)} cells; the header has {len(names)} columns"))
    except csv.Error as error:
        raise Mistake(f"{path}:{lines.start()}: no table: {error}; is a quote not closed?") from None
    if names is None:
        raise Mistake(f"{path}: empty; expected a header such as m,k,n,latency_us and a row for each case")
    try:
        found = columns(cls, names, config)
        _complete(found, config)
    except Mistake as error:
        raise Mistake(f"{at}: {error}") from None
    if not rows and not broken:
        raise Mistake(f"{path}: only a header; expected a row for each case")
    return Table(rows=tuple(rows), columns=found, broken=tuple(broken))


def _complete(found: Columns, config: Config) -> None:
    """Raises Mistake where no row can say whose time it is, or on which GPU."""
    if config.provider is None and "provider" not in found.roles:
        raise Mistake("who ran this? --provider NAME says so, or a column `provider`")
    if config.hw is None and "gpu" not in found.roles:
        raise Mistake("on which GPU was this measured? --hw NAME says so, such as --hw h20, or a column `gpu`")


class _Lines:
    """The lines of a text without comments and blank ones, which remembers where it is: csv counts only what it is given."""

    def __init__(self, text: str) -> None:
        self._lines = re.split(r"\r\n|\r|\n", text)
        self.number = 0
        self._start: int | None = None
        self.first = next((line for line in self._lines if self._counts(line)), "")

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self._lines, 1):
            self.number = number
            if self._counts(line):
                self._start = self._start or self.number
                yield f"{line}\n"

    def start(self) -> int:
        """The line on which the row began that was just read."""
        start, self._start = self._start or self.number, None
        return start

    @staticmethod
    def _counts(line: str) -> bool:
        return bool(line.strip()) and not line.lstrip().startswith("#")


def _separator(header: str) -> str:
    return max(_SEPARATORS, key=header.count)


def _names(cells: list[str], where: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    for number, name in enumerate(names, 1):
        if not name:
            raise Mistake(f"{where}: column {number} has no name; the first line names the columns")
        if names.count(name) > 1:
            raise Mistake(f"{where}: two columns are named {name!r}")
    return names


def found(table: Table, config: Config) -> Iterator[Found | Unusable]:
    """What the rows of a table say, in order, each mistake in its place."""
    assert config.operator is not None
    cls = find(config.operator)
    yield from table.broken
    for row in table.rows:
        try:
            yield _found(row, table.columns, config, cls)
        except Mistake as error:
            yield Unusable(where=row.where, reason=str(error))


def _found(row: Row, known: Columns, config: Config, cls: type[Operator]) -> Found:
    cells, roles = row.cells, {role: row.cells[name].strip() for role, name in known.roles.items()}
    provider = config.provider or roles.get("provider")
    if not provider:
        raise Mistake("the row does not say who ran this")
    said = roles.get("status", "")
    failed = said.lower() not in _GOOD
    version = roles.get("version") or config.version
    kept = [f"{name} {cells[name].strip()}" for name in known.scatter if cells[name].strip()]
    time, note = (None, "") if failed else _time(cells, known, roles)
    return Found(
        where=row.where,
        operator=cls.name,
        dims=known.rule.dims(cls, cells),
        provider=provider,
        gpu=roles.get("gpu") or None,
        time=time,
        status="failed" if failed else "passed",
        reason=f"the file says: {said}" if failed else None,
        notes=tuple(filter(None, [note, f"in the file: {', '.join(kept)}" if kept else "", roles.get("notes", "")])),
        packages={provider: version} if version else {},
    )


def _time(cells: Mapping[str, str], known: Columns, roles: Mapping[str, str]) -> tuple[Estimate, str]:
    """The time of a row, and what is to be said of it."""
    median = _cell(known.time, cells)
    samples = _named(known.roles.get("samples", ""), lambda: count(roles.get("samples", "")))
    if known.low is None or known.high is None:
        return single(median), f"{samples} samples, whose scatter the file does not give" if samples else ""
    low, high = _cell(known.low, cells), _cell(known.high, cells)
    if not low <= median <= high:
        raise Mistake(f"the time is outside of its interval, {known.low.column} to {known.high.column}")
    if samples is None:
        shown = f"{show_seconds(low)} to {show_seconds(high)}"
        return single(median), f"the file's interval, {shown}, comes without a number of samples and is not used"
    return Estimate(median=median, low=low, high=high, n=samples, stopped_by=IMPORTED), ""


def _cell(column: Timed, cells: Mapping[str, str]) -> float:
    return _named(column.column, lambda: duration(cells[column.column], column.unit))


def _named(column: str, read: Callable[[], T]) -> T:
    """Reads a cell; a mistake names its column."""
    try:
        return read()
    except Mistake as error:
        raise Mistake(f"{column}: {error}") from None
