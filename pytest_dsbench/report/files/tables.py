"""Results as tables for spreadsheets and data frames: one CSV of all, one per kernel, and Parquet."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple

from ...environment import Environment
from .document import Document, Row

#: Stem of the table of everything.
ALL = "all_kernels"
#: What a cell may hold.
Cell = str | int | float | bool | None


class Column(NamedTuple):
    """One column: what it holds, and how it is read from a row and the environment of its run."""

    kind: Literal["text", "number", "count", "truth"]
    cell: Callable[[Row, Environment], Cell]


def _text(name: str) -> Column:
    return Column("text", lambda row, _: getattr(row, name))


def _truth(name: str) -> Column:
    return Column("truth", lambda row, _: getattr(row, name))


def _number(name: str, factor: float = 1.0) -> Column:
    """A figure of the row in the unit that its column's name says."""
    return Column("number", lambda row, _: _scaled(getattr(row, name), factor))


def _place(name: str, factor: float | None = None) -> Column:
    """A field of the environment, a number where a factor is given."""
    if factor is None:
        return Column("text", lambda _, place: getattr(place, name))
    return Column("number", lambda _, place: _scaled(getattr(place, name), factor))


def _scaled(value: float | None, factor: float) -> float | None:
    # Nine digits: more than any clock has, and 1e-6 seconds are 1 us.
    return None if value is None else float(f"{value * factor:.9g}")


#: Every column, in order. A unit is a part of its name; shares are in per cent.
COLUMNS: Mapping[str, Column] = {
    "kernel": _text("kernel"),
    "op": _text("op"),
    "category": _text("category"),
    "label": _text("label"),
    "dims": Column("text", lambda row, _: " ".join(f"{name}={_dim(value)}" for name, value in row.dims.items())),
    "dtype": _text("dtype"),
    "provider": _text("provider"),
    "version": Column("text", lambda row, _: ", ".join(f"{name} {version}" for name, version in sorted(row.versions.items()))),
    "time_us": _number("time", 1e6),
    "time_low_us": _number("low", 1e6),
    "time_high_us": _number("high", 1e6),
    "samples": Column("count", lambda row, _: row.samples),
    "gflops": _number("flop_rate", 1e-9),
    "gb_per_s": _number("byte_rate", 1e-9),
    "peak_compute_pct": _number("share_of_compute", 100),
    "peak_bandwidth_pct": _number("share_of_bandwidth", 100),
    "intensity_flop_per_byte": _number("intensity"),
    "regime": _text("regime"),
    "t_sol_us": _number("t_sol", 1e6),
    "efficiency_pct": _number("efficiency", 100),
    "counts": _truth("counts"),
    "status": _text("status"),
    "reason": _text("reason"),
    "notes": Column("text", lambda row, _: "; ".join(row.notes)),
    "importance": _number("importance"),
    "tags": Column("text", lambda row, _: " ".join(row.tags)),
    "device": _text("device"),
    "gpu": Column("text", lambda _, place: place.gpu or place.cpu),
    "locked_clock_mhz": _place("locked_clock", 1e-6),
    "max_clock_mhz": _place("max_clock", 1e-6),
    "power_limit_w": _place("power_limit", 1),
    "driver": _place("driver"),
    "cuda": _place("cuda"),
    "mode": _text("mode"),
    "cold": _truth("cold"),
    "run": _text("run"),
    "where": _text("where"),
    "bench": _text("bench"),
}


def _dim(value: object) -> str:
    """A dimension as `dsbench roofline` takes it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def csv_files(found: Document) -> dict[Path, str]:
    """The text of every CSV by its path: `all_kernels.csv`, and `kernels/<kernel>.csv` with a column for each dimension."""
    rows = [(row, _cells(found, row)) for row in found.results]
    files = {Path(f"{ALL}.csv"): _csv(list(COLUMNS), (cells for _, cells in rows))}
    groups: dict[str, list[tuple[Row, list[Cell]]]] = {}
    for row, cells in rows:
        groups.setdefault(row.kernel, []).append((row, cells))
    taken: set[str] = set()
    for kernel, group in groups.items():
        files[Path("kernels") / f"{_stem(kernel, taken)}.csv"] = _kernel_text(group)
    return files


def _kernel_text(group: Sequence[tuple[Row, list[Cell]]]) -> str:
    # `dtype` stands among the columns already; any other dimension that is called as one of them is told apart.
    dims = [name for name in dict.fromkeys(name for row, _ in group for name in row.dims) if name != "dtype"]
    head = [f"dim_{name}" if name in COLUMNS else name for name in dims]
    at = list(COLUMNS).index("dims") + 1
    full = (
        [*cells[:at], *(_dim(row.dims[name]) if name in row.dims else None for name in dims), *cells[at:]] for row, cells in group
    )
    return _csv([*list(COLUMNS)[:at], *head, *list(COLUMNS)[at:]], full)


def _cells(found: Document, row: Row) -> list[Cell]:
    place = found.runs[row.run].environment
    return [column.cell(row, place) for column in COLUMNS.values()]


def _csv(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return file.getvalue()


def _stem(kernel: str, taken: set[str]) -> str:
    """A name for the file of a kernel that no other has, also where case makes no difference."""
    plain = re.sub(r"[^\w.-]+", "_", kernel).strip(".") or "kernel"
    names = (plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 3)))
    found = next(name for name in names if name.lower() not in taken)
    taken.add(found.lower())
    return found


def parquet(found: Document, path: Path) -> bool:
    """Writes all rows to a Parquet file with the columns of the CSV; False where pyarrow is not installed. Raises OSError."""
    if find_spec("pyarrow") is None:
        return False
    import pyarrow
    import pyarrow.parquet

    kinds = {"text": pyarrow.string(), "number": pyarrow.float64(), "count": pyarrow.int64(), "truth": pyarrow.bool_()}
    rows = [_cells(found, row) for row in found.results]
    columns = [pyarrow.array([cells[at] for cells in rows], kinds[column.kind]) for at, column in enumerate(COLUMNS.values())]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, names=list(COLUMNS)), path)
    return True
