"""A layer profile as CSV: one row per kernel, a column of times per device, named for device and unit (`h800_us`)."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import formula
from ..dims import read_dims
from ..hardware import sheets
from ..mistake import Mistake, unknown
from ..operators import find
from ..record import Record
from ..tables import AtLine
from .check import formulas
from .record import Device, Profile, Row, Stated
from .times import UNITS, time

#: Columns beside those of times.
COLUMNS = ("group", "module", "kernel", "calls", "hidden_by", "operator", "dims", "times", "note")
_TIMED = re.compile(rf"(.+)_({'|'.join(sorted(UNITS, key=len, reverse=True))})")
_SUM = {"sum", "合计", "总和"}
_STEP = {"end to end", "end-to-end", "e2e", "step", "端到端"}
_LAYERS = re.compile(r"(\d+)\s*(?:layers?\b.*|层.*)", re.IGNORECASE)
_OVERLAP = re.compile(r"([^/]+?)\s*(?:/.*)?\s*(?:\boverlap(?:ped)?|重叠)", re.IGNORECASE)


class _Line(Record):
    """One record of the file: its cells by column, and where it begins."""

    number: int
    cells: dict[str, str]

    def cell(self, column: str) -> str:
        """The words of a cell; empty where there are none."""
        return self.cells.get(column, "")


def read(text: str, shown: str) -> Profile:
    """The profile of a CSV text, not yet held against itself. Raises AtLine."""
    head, lines = _lines(text)
    columns = _timed(head)
    devices = tuple(_device(name) for name in dict.fromkeys(name for name, _ in columns.values()))
    rows: list[Row] = []
    stated: list[Stated] = []
    names: set[str] = set()
    for line in lines:
        try:
            times = {
                name: time(_united(line.cell(column), unit)) for column, (name, unit) in columns.items() if line.cell(column)
            }
            if line.cell("group") and line.cell("module").lower() not in _SUM:
                rows.append(_row(line, times))
                names |= {name for text in formulas(rows[-1]) for name in formula.names(text)}
            else:
                stated += _stated(line, times)
        except Mistake as error:
            raise AtLine(line.number, str(error)) from None
    counts = [one.count for one in stated if one.count is not None]
    return Profile(
        profile=Path(shown).stem,
        devices=devices,
        variables=dict.fromkeys(sorted(names), "named in the column dims"),
        rows=tuple(_overlapped(rows)),
        stated=tuple(stated),
        layers=counts[0] if counts else None,
        path=shown,
    )


def _lines(text: str) -> tuple[list[str], list[_Line]]:
    """The header and the records that are not blank. Raises AtLine."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    head: list[str] = []
    found: list[_Line] = []
    begins = 1
    try:
        for record in reader:
            cells, number, begins = [cell.strip() for cell in record], begins, reader.line_num + 1
            if not any(cells):
                continue
            if not head:
                head = cells
                continue
            if len(cells) > len(head):
                raise AtLine(
                    number, f"{len(cells)} cells under {len(head)} columns; a comma inside of a name needs quotes around it"
                )
            found.append(_Line(number=number, cells=dict(zip(head, cells, strict=False))))
    except csv.Error as error:
        raise AtLine(reader.line_num or 1, f"not CSV: {error}") from None
    return head, found


def _timed(head: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Columns of times: device and unit. Raises AtLine where a column is unknown, twice there, or missing."""
    if len(head) == 1 and ";" in head[0]:
        raise AtLine(1, "the cells are parted by semicolons; expected commas")
    columns = {}
    for name in head:
        match = _TIMED.fullmatch(name)
        if match and name not in COLUMNS:
            columns[name] = (match[1], match[2])
        elif name not in COLUMNS:
            raise AtLine(1, f"{unknown('column', name, COLUMNS)}, and times as DEVICE_us, _ms, _ns or _s")
        if head.count(name) > 1:
            raise AtLine(1, f"the column {name!r} is there twice")
    devices = [device for device, _ in columns.values()]
    for device in devices:
        if devices.count(device) > 1:
            raise AtLine(1, f"device {device!r} has two columns of times")
    if "group" not in head or not columns:
        missing = "group" if "group" not in head else "DEVICE_us (or _ms, _ns, _s)"
        raise AtLine(1, f"no column {missing}; expected group, module, kernel and a column of times per device")
    return columns


def _device(name: str) -> Device:
    """The device of a column: its sheet is the one that the name begins with, such as h800 or b200_mtp."""
    words = name.lower().split("_")
    starts = ("_".join(words[:count]) for count in range(len(words), 0, -1))
    known = sheets()
    hw = next((start for start in starts if start in known), None)
    rest = name[len(hw) + 1 :] if hw else ""
    return Device(name=name, hw=hw, note=f"named {rest} in the column" if rest else "")


def _united(cell: str, unit: str) -> str:
    """A cell with a unit: its own, or that of its column."""
    return cell if re.search(r"[a-zA-Z]\s*$", cell) and cell.lower() not in ("nan", "inf", "-inf") else f"{cell} {unit}"


def _row(line: _Line, times: dict[str, tuple[float, float]]) -> Row:
    operator = line.cell("operator") or None
    return Row(
        group=line.cell("group"),
        module=line.cell("module"),
        kernel=line.cell("kernel"),
        seconds={name: seconds for name, (seconds, _) in times.items()},
        rounding={name: rounding for name, (_, rounding) in times.items()},
        calls=_count(line.cell("calls")),
        hidden_by=line.cell("hidden_by") or None,
        operator=operator,
        dims=_dims(operator, line.cell("dims")),
        times=_multiple(line.cell("times")),
        note=line.cell("note"),
        line=line.number,
    )


def _count(cell: str) -> int | None:
    if cell and not cell.isdecimal():
        raise Mistake(f"calls is {cell!r}; expected a whole number")
    return int(cell) if cell else None


def _multiple(cell: str) -> int | str:
    if not cell or cell.isdecimal():
        return int(cell or 1)
    if not formula.is_formula(cell):
        raise Mistake(f"times is {cell!r}; expected a whole number, or a formula such as '= local_experts'")
    return cell


def _dims(operator: str | None, cell: str) -> dict[str, Any]:
    """`m=128 n==tokens`: values, and formulas behind a second equals sign. Raises Mistake."""
    if operator is None:
        if cell:
            raise Mistake("dims without an operator; name the operator that they are of")
        return {}
    cls = find(operator)
    dims: dict[str, Any] = {}
    for text in cell.split():
        key, _, value = text.partition("=")
        dims |= {key: value} if formula.is_formula(value) else read_dims(cls, [text])
    return dims


def _stated(line: _Line, times: dict[str, tuple[float, float]]) -> Iterator[Stated]:
    """The published times of a `sum` row, or of a row without a group. Raises Mistake where it is neither."""
    group, module = line.cell("group"), line.cell("module")
    layers = _LAYERS.fullmatch(module)
    if not (group or layers or module.lower() in _STEP):
        what = repr(module) if module else "nothing"
        raise Mistake(f"a row without a group is a total, and this one names {what}; expected 'end to end' or 'N layers'")
    for name, (seconds, rounding) in times.items():
        yield Stated(
            what="group" if group else "layers" if layers else "step",
            name=group,
            device=name,
            seconds=seconds,
            rounding=rounding,
            count=int(layers[1]) if layers and not group else None,
            line=line.number,
        )


def _overlapped(rows: Sequence[Row]) -> Iterator[Row]:
    """Rows of a group such as `combine/share overlap` are hidden by the module that it names first."""
    for row in rows:
        match = _OVERLAP.fullmatch(row.group)
        yield row.replace(hidden_by=match[1].strip()) if match and row.hidden_by is None else row
