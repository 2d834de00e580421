"""What became of foreign rows, as text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from ..foreign.found import Unusable
from ..foreign.imported import Imported
from ..measurement import Measurement
from ..units import show_count, show_share
from .table import table

#: Rows that are named one by one; the others are counted.
_MOST = 10


def imported_lines(run: Imported, path: Path) -> Iterator[str]:
    """One run that was written: what is in it by operator and provider, and what in it is not to be believed."""
    records = run.measurements
    yield f"{path}: {show_count(len(records), 'record')} on {run.header.hardware.name} ({run.header.hardware.title})"
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for one in records:
        groups.setdefault((one.case.operator, one.case.provider), []).append(one)
    head = ["operator", "provider", "cases", "passed", "median efficiency", "from", "to"]
    yield from table(head, [[*key, *_row(group)] for key, group in groups.items()], left=2)
    for status in ("invalid", "failed"):
        yield from _named([one for one in records if one.status == status], status)
    if run.repeated:
        yield f"{show_count(run.repeated, 'record')} of a case that another record measured, too; all kept, as passes of one run"
    yield from (f"note: {note}" for note in run.header.notes)


def unusable_lines(unusable: Sequence[Unusable]) -> Iterator[str]:
    """The rows that became no record: how many, and why."""
    if not unusable:
        return
    reasons: dict[str, list[str]] = {}
    for one in unusable:
        reasons.setdefault(one.reason, []).append(one.where)
    yield f"unusable: {show_count(len(unusable), 'row')}"
    for reason, places in list(reasons.items())[:_MOST]:
        yield f"  {places[0]}{f' and {len(places) - 1} more' if len(places) > 1 else ''}: {reason}"
    left = sum(map(len, list(reasons.values())[_MOST:]))
    if left:
        yield f"  and {show_count(left, 'row')} for other reasons"


def _row(group: Sequence[Measurement]) -> list[str]:
    passed = [one for one in group if one.status == "passed" and one.time and one.bound]
    count = [f"{len(group)}", f"{len(passed)}"]
    shares = [one.efficiency for one in passed if one.efficiency is not None]
    if not shares:
        return [*count, "-", "-", "-"]
    return [*count, *map(show_share, (median(shares), min(shares), max(shares)))]


def _named(records: Sequence[Measurement], what: str) -> Iterator[str]:
    if records:
        yield f"{what}: {show_count(len(records), 'record')}"
        yield from (f"  {one.case.where}: {one.case.name}: {one.reason}" for one in records[:_MOST])
    if len(records) > _MOST:
        yield f"  and {len(records) - _MOST} more"
