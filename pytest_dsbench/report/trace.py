"""Traces as text: what each operator and each kernel took, and what could not be mapped."""

from collections.abc import Iterator, Sequence

from ..dims import describe
from ..hardware.sheet import Hardware
from ..trace.summary import Line, Summary, t_sol
from ..trace.totals import Part, Step
from ..units import show_count, show_seconds, show_share
from .table import table

#: Names are cut to so many characters; the CSV has them whole.
_WIDTH = 72
#: Of more steps the mean alone is shown.
_STEPS = 10


def trace_lines(summary: Summary, hardware: Hardware | None, top: int) -> Iterator[str]:
    """The whole report."""
    yield _headline(summary, hardware)
    yield from _caveats(summary)
    yield ""
    yield from _step_lines(summary)
    yield from _operators(summary, hardware, top)
    yield from _kernels(summary, top)
    yield from _others(summary, "recognised", "recognised, but not mappable", top)
    yield from _others(summary, "unmapped", "unmapped", top)
    yield ""
    yield _sum_line(summary)


def _headline(summary: Summary, hardware: Hardware | None) -> str:
    parts = summary.parts
    ranks = sorted(one.rank for one in parts if one.rank is not None)
    names = ", ".join(device.name for device in summary.devices)
    device = "the CPU" if summary.cpu else names or "a device that the trace does not name"
    sheet = f" (data sheet {hardware.name})" if hardware is not None and not summary.cpu else ""
    numbered = all(step.number is not None for one in parts for step in one.steps)
    said = [
        show_count(len(parts), "file"),
        f"{'ranks' if len(set(ranks)) > 1 else 'rank'} {', '.join(map(str, dict.fromkeys(ranks)))}"
        if ranks
        else "no rank recorded",
        show_count(summary.steps, "step") if numbered else "no steps recorded: a trace counts as one",
        f"on {device}{sheet}",
        *_versions(parts),
    ]
    return f"{'; '.join(said)}; {show_seconds(summary.seconds)} of {'CPU' if summary.cpu else 'device'} time"


def _versions(parts: Sequence[Part]) -> list[str]:
    """Versions that the traces name, each once."""
    keys = dict.fromkeys(key for one in parts for key in one.head if "version" in key.lower() and key != "schemaVersion")
    found = []
    for key in keys:
        values = dict.fromkeys(str(one.head[key]) for one in parts if key in one.head)
        found.append(f"{key.replace('_', ' ')} {' and '.join(values)}")
    return found or ["no torch version recorded"]


def _caveats(summary: Summary) -> Iterator[str]:
    if summary.cpu:
        yield "This is a CPU trace: times are the operations' own on their threads, without those of operations inside them."
    if len(summary.devices) > 1:
        yield "The ranks ran on different devices: their times are summed here, and no T_SOL holds for all of them."
    for one in summary.parts:
        if not one.shapes:
            yield (
                f"{one.path} has no shapes, so that nothing of it can be mapped; record with "
                "torch.profiler.profile(record_shapes=True)."
            )
        if one.outside:
            yield f"{one.path}: {show_seconds(one.outside)} of time outside of the steps that count is left out."


def _step_lines(summary: Summary) -> Iterator[str]:
    rows = [row for one in summary.parts for row in _part_rows(one)]
    yield from table(["rank", "step", "wall", "busy", "busy/wall", "summed", "at once"], rows, left=2)
    if any(step.summed > 1.0001 * step.busy for one in summary.parts for step in one.steps) and not summary.cpu:
        yield "Streams overlap: shares below are of the summed device time, which is more than the busy time."
    means = [(one.label, one.seconds / len(one.steps)) for one in summary.parts if one.steps]
    if len(means) > 1:
        (low, least), (high, most) = min(means, key=lambda one: one[1]), max(means, key=lambda one: one[1])
        apart = show_share(spread([least, most]))
        yield f"ranks: {show_seconds(least)} ({low}) to {show_seconds(most)} ({high}) per step, {apart} apart"


def _part_rows(one: Part) -> Iterator[list[str]]:
    for step in one.steps if len(one.steps) <= _STEPS else ():
        yield [one.label, "all" if step.number is None else str(step.number), *_step_cells(step)]
    if len(one.steps) > 1:
        means = [sum(getattr(step, name) for step in one.steps) / len(one.steps) for name in ("wall", "busy", "summed")]
        wall, busy, summed = means
        apart = show_share(spread([step.summed for step in one.steps]))
        yield [one.label, f"mean of {len(one.steps)}, summed {apart} apart", *_cells(wall, busy, summed)]


def _step_cells(step: Step) -> list[str]:
    return _cells(step.wall, step.busy, step.summed)


def _cells(wall: float, busy: float, summed: float) -> list[str]:
    return [
        show_seconds(wall),
        show_seconds(busy),
        show_share(busy / wall) if wall else "-",
        show_seconds(summed),
        f"{summed / busy:.2f}" if busy else "-",
    ]


def spread(values: Sequence[float]) -> float:
    """Largest less smallest, as a share of the mean; 0 where all are 0."""
    mean = sum(values) / len(values)
    return (max(values) - min(values)) / mean if mean else 0.0


def _operators(summary: Summary, hardware: Hardware | None, top: int) -> Iterator[str]:
    yield ""
    lines = summary.of("mapped")
    if not lines:
        yield "no operator of ours was found"
        return
    timed = hardware is not None and not summary.cpu
    head = ["operator", "case", "operations", "calls", "total", "mean", "share"]
    head += ["steps apart"] if summary.steps > len(summary.parts) else []
    head += ["ranks apart"] if len(summary.parts) > 1 else []
    rows = []
    for line in lines[:top]:
        label = describe(line.key.op) if line.key.op is not None else ""
        row = [line.key.operator, _cut(label), _cut(", ".join(line.names)), *_amounts(summary, line)]
        row += [show_share(max(map(spread, line.per_step)))] if summary.steps > len(summary.parts) else []
        row += [show_share(spread(line.per_rank))] if len(summary.parts) > 1 else []
        rows.append([*row, *(_efficiency(line, hardware) if timed else [])])
    yield from table([*head, *(["T_SOL", "efficiency"] if timed else [])], rows, left=3)
    yield from _rest(summary, lines, top)
    for line in lines:
        best = t_sol(line, hardware) if timed else None
        if best is not None and line.mean < best:
            yield (
                f"faster than light: {line.key.operator} {describe(line.key.op)} takes {show_seconds(line.mean)} "  # type: ignore[arg-type]
                f"and T_SOL is {show_seconds(best)}: its data was in the cache, or it does less than the operator"
            )


def _efficiency(line: Line, hardware: Hardware | None) -> list[str]:
    best = t_sol(line, hardware)
    return [show_seconds(best), show_share(best / line.mean)] if best is not None and line.mean else ["-", "-"]


def _amounts(summary: Summary, line: Line) -> list[str]:
    return [f"{line.calls:,}", show_seconds(line.seconds), show_seconds(line.mean), show_share(summary.share(line.seconds))]


def _kernels(summary: Summary, top: int) -> Iterator[str]:
    found: dict[str, tuple[int, float, list[str]]] = {}
    for line in summary.lines:
        for name, (launches, seconds) in line.kernels.items():
            before, total, owners = found.get(name, (0, 0.0, []))
            owner = line.key.operator or line.key.name
            found[name] = before + launches, total + seconds, owners if owner in owners else [*owners, owner]
    ranked = sorted(found.items(), key=lambda item: -item[1][1])
    rows = [
        [
            _cut(name),
            f"{launches:,}",
            show_seconds(total),
            show_seconds(total / launches),
            show_share(summary.share(total)),
            _cut(", ".join("-" if owner == name else owner for owner in owners)),
        ]
        for name, (launches, total, owners) in ranked[:top]
    ]
    yield ""
    what = "operation by its own time" if summary.cpu else "kernel"
    yield from table([what, "launches", "total", "mean", "share", "of"], rows, last_left=True)
    if ranked[top:]:
        yield _more(summary, len(ranked) - top, sum(total for _, (_, total, _) in ranked[top:]))


def _others(summary: Summary, kind: str, title: str, top: int) -> Iterator[str]:
    lines = summary.of(kind)
    if not lines:
        return
    yield ""
    rows = [[_cut(line.key.name), *_amounts(summary, line), _why(line)] for line in lines[:top]]
    yield from table([title, "calls", "total", "mean", "share", "why"], rows, last_left=True)
    yield from _rest(summary, lines, top)


def _why(line: Line) -> str:
    return f"{line.key.operator}: {line.key.reason}" if line.key.operator else line.key.reason


def _rest(summary: Summary, lines: Sequence[Line], top: int) -> Iterator[str]:
    if lines[top:]:
        yield _more(summary, len(lines) - top, sum(line.seconds for line in lines[top:]))


def _more(summary: Summary, count: int, seconds: float) -> str:
    return f"and {count:,} more, {show_share(summary.share(seconds))} together; --top shows more, --csv has all"


def _sum_line(summary: Summary) -> str:
    shares = {
        kind: sum(summary.share(line.seconds) for line in summary.of(kind)) for kind in ("mapped", "recognised", "unmapped")
    }
    said = " + ".join(f"{kind} {100 * share:.2f} %" for kind, share in shares.items())
    return f"{said} = {100 * sum(shares.values()):.2f} % of {'CPU' if summary.cpu else 'summed device'} time"


def _cut(name: str) -> str:
    plain = " ".join(name.split())
    return plain if len(plain) <= _WIDTH else f"{plain[: _WIDTH - 3]}..."
