"""A layer profile written as the CSV that `csvfile` reads."""

import csv
import io
import re

from .. import formula
from ..dims import list_fields
from ..operators import find
from .csvfile import COLUMNS
from .record import Profile, Row
from .times import written


def write(profile: Profile) -> str:
    """The rows and published times as CSV, times in microseconds; titles, notes and variables have no place in it."""
    names = [device.name for device in profile.devices]
    out = io.StringIO()
    sheet = csv.writer(out, lineterminator="\n")
    extra = [column for column in COLUMNS[3:] if any(_cells(profile, row)[column] for row in profile.rows)]
    sheet.writerow([*COLUMNS[:3], *(f"{name}_us" for name in names), *extra])
    totals = [one for one in profile.stated if one.what != "group"]
    for one in totals:
        what = f"{one.count} layers" if one.what == "layers" else "end to end"
        sheet.writerow(["", what, "", *(_cell(one.seconds, one.rounding) if name == one.device else "" for name in names)])
    for group in profile.groups():
        for row in profile.of(group):
            times = [_cell(row.seconds[name], row.rounding.get(name, 0.0)) if name in row.seconds else "" for name in names]
            cells = _cells(profile, row)
            sheet.writerow([group, row.module, row.kernel, *times, *(cells[column] for column in extra)])
        sums = {name: profile.stated_of("group", name, group) for name in names}
        if any(sums.values()):
            sheet.writerow([group, "sum", "", *(_cell(one.seconds, one.rounding) if one else "" for one in sums.values())])
    return out.getvalue()


def _cell(seconds: float, rounding: float) -> str:
    number, unit = written(seconds, rounding)
    return number if unit == "us" else f"{number} {unit}"


def _cells(profile: Profile, row: Row) -> dict[str, str]:
    """The columns of a row that are not always there."""
    cls = find(row.operator) if row.operator else None
    lists = list_fields(cls) if cls else frozenset()
    dims = [f"{key}={_dim(profile, value, key in lists)}" for key, value in row.dims.items()]
    times = _dim(profile, row.times, False) if row.times != 1 else ""
    return {
        "calls": str(row.calls or ""),
        "hidden_by": row.hidden_by or "",
        "operator": row.operator or "",
        "dims": " ".join(dims),
        "times": times,
        "note": row.note,
    }


def _dim(profile: Profile, value: object, listed: bool) -> str:
    """A value; of a formula without blanks, the constants in it as their numbers: a CSV has no place for them."""
    if listed and isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    if not isinstance(value, str) or not formula.is_formula(value):
        return str(value)
    known = {name: constant for name, constant in profile.constants.items() if isinstance(constant, (int, str))}
    bare = value.lstrip()[1:].strip()
    if bare in known:
        return str(known[bare])
    filled = re.sub(r"[A-Za-z_]\w*", lambda name: str(known.get(name[0], name[0])), value)
    return re.sub(r"\s+", "", filled)
