"""Stored baselines as text."""

from collections.abc import Iterator
from math import expm1

from ..gate.baseline import Baseline, Entry
from ..gate.screen import Scales
from ..stats import mad_scale
from ..thresholds import Thresholds
from ..units import show_seconds, show_share
from .table import table


def operator_lines(one: Baseline) -> Iterator[str]:
    """A line for each operator and provider."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in one.entries.values():
        groups.setdefault((entry.operator, entry.provider), []).append(entry)
    rows = []
    for (operator, provider), group in sorted(groups.items()):
        nights = [len(entry.window) for entry in group]
        last = max(entry.window[-1].at for entry in group)[:10]
        notes = sum(len(entry.notes) for entry in group)
        rows.append([operator, provider, f"{len(group)}", f"{min(nights)}-{max(nights)}", last, f"{notes}"])
    yield f"{one.source}: {len(one.entries)} cases"
    yield from table(["operator", "provider", "cases", "nights", "last", "notes"], rows, left=2)


def case_lines(one: Baseline, operator: str) -> Iterator[str]:
    """A line for each case of one operator, then the notes."""
    scales = Scales(one.entries.values(), Thresholds())
    chosen = [entry for entry in one.entries.values() if entry.operator == operator]
    rows = [
        [
            entry.case.name,
            f"{len(entry.window)}",
            show_seconds(entry.seconds),
            show_share(entry.t_sol / entry.seconds),
            show_share(expm1(mad_scale([night.level for night in entry.window]))),
            show_share(expm1(scales.of(entry))),
            entry.golden.at[:10] if entry.golden else "-",
            entry.window[-1].at[:10],
            entry.pending.at[:10] if entry.pending else "-",
            entry.mode,
        ]
        for entry in chosen
    ]
    yield f"{one.source}: {operator}"
    yield from table(["case", "nights", "T", "eff.", "scatter", "scale", "golden", "last", "pending", "clock"], rows)
    yield from (f"{entry.case.name}: {note}" for entry in chosen for note in entry.notes)
