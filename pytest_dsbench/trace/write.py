"""What a trace becomes: shape files, a layer profile, and rows of a CSV."""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..dims import as_row, describe
from ..hardware.sheet import Hardware
from ..measurement import read_back
from ..mistake import Mistake
from ..profile import record as layer
from ..units import show_count
from .owners import UNLISTED, Key
from .summary import Line, Summary, t_sol
from .totals import Part

#: Who runs the operations of a namespace in production.
_FRAMEWORKS = {"sgl_kernel": "sglang", "sglang": "sglang", "vllm": "vllm", "aten": "torch"}


def shape_files(summary: Summary) -> dict[str, str]:
    """The text of a shape file for each operator that was found, by the name of the file; the longest first."""
    by_operator: dict[str, list[Line]] = defaultdict(list)
    for line in summary.of("mapped"):
        by_operator[line.key.operator].append(line)
    return {f"{operator}.toml": "\n".join(_shape_file(summary, operator, lines)) for operator, lines in by_operator.items()}


def _shape_file(summary: Summary, operator: str, lines: list[Line]) -> Iterator[str]:
    total = sum(line.seconds for line in lines)
    yield "# Written by dsbench trace. importance is the operator's share of the device time; trace_us is the mean of a call."
    yield f"operator = {_text(operator)}"
    yield f"importance = {summary.share(total):.6g}"
    yield f"source = {_text(source(summary))}"
    yield "case = ["
    for line in lines:
        facts = f"calls = {line.calls}, trace_us = {line.mean * 1e6:.6g}"
        yield f"  {_row_of(line)}{_framework(line)}, {facts} }},  # {', '.join(line.names)}"
    yield "]\n"


def _row_of(line: Line) -> str:
    return as_row(line.key.op).removesuffix(" }") if line.key.op is not None else "{"


def _framework(line: Line) -> str:
    spaces = {_FRAMEWORKS.get(name.partition("::")[0]) for name in line.names}
    (only,) = spaces if len(spaces) == 1 else (None,)
    return f", from = {_text(only)}" if only else ""


def source(summary: Summary) -> str:
    """Files, ranks and steps, in words."""
    return "; ".join(map(_source, summary.parts)) + (" (CPU)" if summary.cpu else "")


def _source(one: Part) -> str:
    rank = f", rank {one.rank}" if one.rank is not None else ""
    numbers = " ".join(str(step.number) for step in one.steps if step.number is not None)
    return f"torch.profiler trace {Path(one.path).name}{rank}, {f'steps {numbers}' if numbers else 'no steps'}"


def write_shapes(summary: Summary, folder: Path, force: bool) -> list[str]:
    """Writes a shape file for each operator. Raises Mistake where one is there already, unless forced: then says so."""
    files = shape_files(summary)
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        raise Mistake(f"--shapes {folder}: {', '.join(sorted(there))} is there already; give another folder, or --force")
    for name, text in files.items():
        save(folder / name, text)
    count = len(summary.of("mapped"))
    said = [f"{show_count(count, 'case')} of {show_count(len(files), 'operator')} written to {folder}"]
    return [*said, *([f"written over: {', '.join(sorted(there))}"] if there else [])]


def save(path: Path, text: str) -> None:
    """Writes a file, and the folder it is in. Raises Mistake."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Mistake(f"cannot write {path}: {error.strerror}") from None


def _text(word: str) -> str:
    """A word as TOML has it: a JSON string, but for DEL."""
    return json.dumps(word, ensure_ascii=False).replace("\x7f", "\\u007f")


def profile(summary: Summary, name: str, hardware: Hardware | None) -> layer.Profile:
    """The layer profile: microseconds per step and rank, all layers together."""
    device = hardware.name if hardware else "cpu" if summary.cpu else _short(summary)
    kernels: dict[tuple[str, Key], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    calls: dict[tuple[str, Key], int] = defaultdict(int)
    for one in summary.parts:
        for cell in one.cells:
            kernels[cell.group, cell.key][cell.kernel] += cell.seconds
        for where, count in one.calls.items():
            calls[where] += count
    longest = sorted(kernels, key=lambda where: -sum(kernels[where].values()))
    groups = list(dict.fromkeys(group for group, _ in longest))
    rows = [
        _row(group, key, kernels[group, key], calls[group, key], device, summary.steps)
        for group, key in sorted(longest, key=lambda where: groups.index(where[0]))
        if sum(kernels[group, key].values()) > 0
    ]
    title = summary.devices[0].name if summary.devices else "CPU" if summary.cpu else ""
    return layer.Profile(
        profile=name,
        title="all layers of a step, from a trace",
        source=source(summary),
        devices=(layer.Device(name=device, hw=hardware.name if hardware else None, title=title),),
        rows=tuple(rows),
        covers="step",
        notes=(
            f"times are means per step, over {show_count(summary.steps, 'step')} of {show_count(len(summary.parts), 'file')};"
            " all layers of a step together",
        ),
    )


def _row(group: str, key: Key, kernels: dict[str, float], calls: int, device: str, steps: int) -> layer.Row:
    whole, seconds = calls % steps == 0, sum(kernels.values()) / steps
    ranked = sorted(kernels, key=lambda name: -kernels[name])
    named = key.op is not None and whole
    return layer.Row(
        group=group,
        module=f"{key.operator} {describe(key.op)}" if key.op is not None else key.name,
        kernel=ranked[0] + (f" and {len(ranked) - 1} more" if len(ranked) > 1 else ""),
        seconds={device: seconds},
        # To the nanosecond, which is as fine as traces are; what is near it is written in full, since no time is zero.
        rounding={device: 5e-10} if seconds > 1e-7 else {},
        calls=calls // steps if whole else None,
        operator=key.operator if named else None,
        dims=read_back(key.op) if key.op is not None and named else {},
        note=(key.reason if key.reason != UNLISTED else "")
        or ("" if whole else f"{calls} calls in {steps} steps: not as many in each"),
    )


def _short(summary: Summary) -> str:
    words = re.findall(r"[a-z0-9]+", summary.devices[0].name.lower()) if summary.devices else []
    return "_".join(words) or "gpu"


_HEAD = [
    "ranks",
    "kind",
    "operator",
    "dims",
    "operations",
    "kernel",
    "calls",
    "total_us",
    "mean_us",
    "share",
    "t_sol_us",
    "efficiency",
    "reason",
]


def as_csv(summary: Summary, hardware: Hardware | None) -> str:
    """All rows: a line for each key ("all"), for each of its kernels, and of several ranks for each rank; times in us."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEAD)
    for line in summary.lines:
        key = line.key
        dims = json.dumps(read_back(key.op)) if key.op is not None else ""
        what = [key.kind, key.operator, dims, " ".join(line.names)]
        best = t_sol(line, hardware)
        times = [line.calls, *_times(summary, line.calls, line.seconds)]
        sol = [f"{best * 1e6:.6g}", f"{best / line.mean:.6g}"] if best is not None and line.mean else ["", ""]
        writer.writerow(["all", *what, "", *times, *sol, key.reason])
        for kernel, (launches, seconds) in line.kernels.items():
            writer.writerow(["all", *what, kernel, launches, *_times(summary, launches, seconds), "", "", ""])
        for one in summary.parts if len(summary.parts) > 1 else ():
            calls = sum(count for (_, other), count in one.calls.items() if other == key)
            seconds = sum(step.by_key.get(key, 0.0) for step in one.steps)
            if calls:
                writer.writerow([one.label, *what, "", calls, *_times(summary, calls, seconds), "", "", ""])
    return out.getvalue()


def _times(summary: Summary, calls: int, seconds: float) -> list[str]:
    return [f"{value:.6g}" for value in (seconds * 1e6, seconds / calls * 1e6 if calls else 0.0, summary.share(seconds))]
