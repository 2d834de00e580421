"""The history of a case as text."""

from collections.abc import Sequence

from ..history import Mark, Marked, Series, mark
from ..units import show_count, show_seconds, show_share
from .table import table


def series_lines(series: Series, last: int | None = None) -> list[str]:
    """One series in full, a line per run."""
    marked = mark(series, last)
    rows = [_row(one) for one in marked]
    lines = [f"{series.name}: {_count(len(marked), len(series.points))}, {_verdict(marked)}"]
    return lines + table(["run", "commit", "provider version", "T", "efficiency", "status", "remark"], rows, 3, last_left=True)


def _row(one: Marked) -> list[str]:
    point = one.point
    # One value has no interval: of an imported time it is not known.
    scatter = f" +-{100 * point.time.half_width:.1f} %" if point.time and point.time.n > 1 else ""
    time = f"{show_seconds(point.time.median)}{scatter}" if point.time else "-"
    return [
        point.started[:16].replace("T", " "),
        (point.environment.commit or "-")[:7],
        ", ".join(f"{name} {version}" for name, version in point.packages.items()) or "-",
        time,
        show_share(point.efficiency) if point.efficiency is not None else "-",
        point.status.replace("_", " "),
        _remark(one.mark),
    ]


def _remark(found: Mark) -> str:
    changed = f"environment changed: {', '.join(found.changed)}" if found.changed else ""
    step = f"step {_change(found.step)} to {show_seconds(found.level or 0.0)}" if found.step is not None else ""
    return "; ".join(filter(None, [changed, step, "single outlier" if found.spike else ""]))


def _change(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _count(shown: int, all_: int) -> str:
    runs = show_count(all_, "run")
    return runs if shown == all_ else f"the last {shown} of {runs}"


def _verdict(marked: Sequence[Marked]) -> str:
    levels = [one.mark.level for one in marked if one.mark.level is not None]
    if not levels:
        return "none of them passed"
    step = _last_step(marked)
    return f"level {show_seconds(levels[-1])}, {f'last step {step}' if step else 'no step'}"


def _last_step(marked: Sequence[Marked]) -> str | None:
    steps = [f"{_change(one.mark.step)} on {one.point.started[:10]}" for one in marked if one.mark.step is not None]
    return steps[-1] if steps else None


def overview_lines(found: Sequence[Series], last: int | None = None) -> list[str]:
    """Several series, one line each."""
    head = ["case", "provider", "hw", "runs", "passed", "environments", "first level", "last level", "last step"]
    rows = []
    for series in found:
        marked = mark(series, last)
        levels = [one.mark.level for one in marked if one.mark.level is not None]
        ends = [show_seconds(levels[0]), show_seconds(levels[-1])] if levels else ["-", "-"]
        environments = len({one.point.environment.key() for one in marked})
        counts = [f"{len(marked)}", f"{sum(one.point.timed is not None for one in marked)}", f"{environments}"]
        case = f"{series.operator}[{series.label}]" if series.label else series.operator
        rows.append([case, series.provider, series.hardware, *counts, *ends, _last_step(marked) or "-"])
    return table(head, rows, 3, last_left=True)
