"""Scores as text: of a run, and the published one that it is read against."""

from collections.abc import Iterable, Sequence
from statistics import median

from .. import published
from ..hardware.sheet import Hardware
from ..roofline import bound
from ..score import SELECTIONS, Entry, Score, score
from ..shapes import Case
from ..units import show_number, show_seconds, show_share
from .table import table

_HEAD = ("operator", "shapes", "importance", "regime", "FLOP/B")


def score_lines(entries: Sequence[Entry], known: dict[str, float]) -> list[str]:
    """The score of a run by operator, then in a line for each selection of cases. `known`: importance of every operator."""
    scores = [score(entries, selection) for selection in SELECTIONS]
    rows = [_operator_row(name, importance, scores) for name, importance in sorted(known.items(), key=lambda pair: -pair[1])]
    head = ["operator", "importance"]
    for _ in scores:
        head += ["cases", "floor", "median", "above floor"]
    lines = [
        f"median efficiency by operator, of the cases {scores[0].selection} (left) and {scores[1].selection} (right);"
        " each case by its fastest provider",
        *table(head, rows),
        "",
        *(total_line(one, known) for one in scores),
    ]
    if any(one.floor_bound for one in entries):
        lines.append("floor: cases of less than three empty launches, whose efficiency measures launches; they count")
    return lines


def _operator_row(name: str, importance: float, scores: Sequence[Score]) -> list[str]:
    row = [name, f"{importance:.6f}"]
    for one in scores:
        found = next((operator for operator in one.operators if operator.operator == name), None)
        if found is None:
            row += ["-", "-", "-", "-"]
        else:
            above = "-" if found.above_floor is None else show_share(found.above_floor)
            row += [f"{found.cases}", f"{found.floor_bound}", show_share(found.median), above]
    return row


def total_line(one: Score, known: dict[str, float]) -> str:
    """One score in a line, with what it covers: an operator without a case is left out, not counted as zero."""
    if not one.operators:
        return f"score, {one.selection}: no case of it was timed"
    total = sum(known.values())
    return (
        f"score, {one.selection}: {percent(one.raw)} raw, {percent(one.normalised)} normalised;"
        f" {len(one.operators)} of {len(known)} operators, importance {one.importance:.5f} of {total:.5f}"
    )


def percent(share: float) -> str:
    """A score with two digits, as such scores are published."""
    return f"{100 * share:.2f} %"


def importances(cases: Iterable[Case]) -> dict[str, float]:
    """The importance of every operator that has one."""
    return {case.op.name: case.importance for case in cases if case.importance is not None}


def published_entries(cases: Iterable[Case], device: Hardware) -> list[Entry]:
    """The published production times of `device` as entries, held against the bounds that were published with them."""
    entries = []
    for case in cases:
        known = case.provenance
        if known.id is None or known.production_us is None or case.importance is None or case.production_on != device.name:
            continue
        seconds = known.production_us * 1e-6
        entries.append(
            Entry(
                operator=case.op.name,
                provider=known.library or "production",
                importance=case.importance,
                efficiency=bound(published.work(case), device).seconds / seconds,
                published=True,
                suspect="suspect" in case.tags,
                recovered=False,
                floor_bound=seconds < published.FLOOR,
            )
        )
    return entries


def published_lines(cases: Sequence[Case], measured: Hardware, other: Hardware) -> list[str]:
    """The published table: bounds on both sheets and production times of the middle row, and the median over all rows."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        if case.provenance.id is not None:
            groups.setdefault(case.op.name, []).append(case)
    found = published_entries(cases, measured)
    rows = [_published_row(group, found, measured, other) for group in groups.values()]
    known = {name: group[0].importance or 0.0 for name, group in groups.items()}
    floor = [one for one in found if one.floor_bound]
    kept = [one for one in found if not one.floor_bound]
    return [
        f"published production times on {measured.name}, held against the published bounds",
        *table(
            [
                *_HEAD,
                f"T_SOL {other.name}",
                f"T_SOL {measured.name}",
                "T_prod",
                "S",
            ],
            sorted(rows, key=lambda row: -float(row[2])),
        ),
        "",
        "regime, FLOP/B, T_SOL and T_prod: of the middle row by published number; S: median of T_SOL / T_prod over all rows",
        total_line(score(found, "published"), known),
        f"{len(floor)} of {len(found)} rows take less than {show_seconds(published.FLOOR)}: launches; without them:",
        f"  {total_line(score(kept, 'published'), known)}",
        "the same without the rows whose size is doubted (a recovered size has no published time):",
        f"  {total_line(score(found, 'published minus suspect plus recovered'), known)}",
    ]


def _published_row(group: Sequence[Case], found: Sequence[Entry], measured: Hardware, other: Hardware) -> list[str]:
    ordered = sorted(group, key=lambda case: case.provenance.id or 0)
    middle = ordered[len(ordered) // 2]
    work = published.work(middle)
    here, there = bound(work, measured), bound(work, other)
    efficiency = median(one.efficiency for one in found if one.operator == middle.op.name)
    return [
        middle.op.name,
        f"{len(group)}",
        f"{middle.importance or 0.0:.6f}",
        here.by,
        show_number(work.intensity),
        show_seconds(there.seconds),
        show_seconds(here.seconds),
        show_seconds((middle.provenance.production_us or 0.0) * 1e-6),
        show_share(efficiency),
    ]
