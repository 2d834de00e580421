"""summary.md: what the runs of a collection found, for people who read no CSV."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ...environment import differences
from ...operator import ordered
from ...results import Collection, Device, Source
from ...results.standing import Kernel, kernels, passing
from ...units import UNITS, show_bytes, show_count, show_number, show_rate
from ..gate import HEAD, verdict_rows
from ..summary import environment_rows
from ..table import markdown
from ..terminal import absent_lines, operator_table, remarks, score_lines

#: More failures than this are in the tables; here they would hide everything else.
_MOST = 50


def summary_lines(collection: Collection, version: str) -> Iterator[str]:
    """The whole file, line by line."""
    yield from ("# dsbench report", "")
    yield f"By pytest-dsbench {version}, from {_sources(collection)}."
    yield from ("", *(f"- {remark}" for remark in collection.remarks), "")
    yield from _hardware(collection)
    for device in collection.devices:
        yield from _device(device)


def _sources(collection: Collection) -> str:
    paths = [source.path for device in collection.devices for source in device.sources]
    return paths[0] if len(paths) == 1 else f"{len(paths)} runs: {', '.join(paths)}"


def _hardware(collection: Collection) -> Iterator[str]:
    sheets = [(device, device.hardware) for device in collection.devices]
    units = [unit for unit in UNITS if any(unit in sheet.peak for _, sheet in sheets)]
    rows = [
        [
            device.key,
            device.title,
            show_rate(sheet.bandwidth, "B/s"),
            show_bytes(sheet.memory) if sheet.memory else "-",
            *(_peak(sheet.peak[unit], sheet.ridge(unit)) if unit in sheet.peak else "-" for unit in units),
            sheet.source,
        ]
        for device, sheet in sheets
    ]
    yield from ("## Hardware", "", "Dense peaks in TFLOP/s, with the ridge point in FLOP/byte: below, memory binds.", "")
    yield from markdown(["device", "name", "bandwidth", "memory", *units, "source"], rows, left=2, last_left=True)
    yield ""


def _peak(rate: float, ridge: float) -> str:
    return f"{rate / 1e12:,.5g} ({show_number(ridge)})"


def _device(device: Device) -> Iterator[str]:
    """One device: its newest records, case by case the last run that has them."""
    latest = device.latest
    found = [one.measurement for one in latest]
    every = kernels(latest)
    yield from (f"## {device.key}: {device.title}", "")
    yield f"{passing(every)}; {_counts(device)}."
    yield ""
    if scored := score_lines(found):
        yield from (*(f"- {line}" for line in scored), "")
    yield from _failures(device)
    for source in device.sources:
        yield from _verdicts(source)
    for category in ordered(one.category for one in every):
        yield from _category(category, [one for one in every if one.category == category])
    said = [*remarks(found), *absent_lines(device.sources[-1].header.absent), *device.sources[-1].header.notes]
    if said:
        yield from ("### Limits, skips and notes", "", *(f"- {line.strip()}" for line in said), "")
    yield from _environments(device)


def _counts(device: Device) -> str:
    counts = Counter(one.measurement.status for one in device.latest)
    cases = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.most_common())
    return f"{show_count(len(device.latest), 'case')}: {cases}"


def _failures(device: Device) -> Iterator[str]:
    failed = [one for one in device.latest if one.standing == "failing" and one.measurement.status != "not_run"]
    if failed:
        yield from ("### Failing", "")
        for one in failed[:_MOST]:
            yield f"- **{one.measurement.status.replace('_', ' ')}** {one.case.where}: {one.case.name}: {one.measurement.reason}"
        if len(failed) > _MOST:
            yield f"- and {len(failed) - _MOST} more, in the tables"
        yield ""


def _verdicts(source: Source) -> Iterator[str]:
    """What the gate said of a run, where it was held against a baseline."""
    if source.verdicts:
        counts = Counter(one.outcome.replace("_", " ") for one in source.verdicts)
        yield from (f"### Gate: {source.name}", "", ", ".join(f"{count} {word}" for word, count in counts.most_common()), "")
        if rows := verdict_rows(source.verdicts):
            yield from (*markdown(HEAD, rows, left=2, last_left=True), "")


def _category(name: str, found: Sequence[Kernel]) -> Iterator[str]:
    rows = []
    for one in found:
        head, operators = operator_table([result.measurement for result in one.results])
        rows += [[one.kernel, *row] for row in operators]
    yield from (f"### {name.replace('_', ' ')}: {passing(found)}", "", *markdown(["kernel", *head], rows, 3, last_left=True), "")


def _environments(device: Device) -> Iterator[str]:
    """The environment of the last run, and what was not as in it when the others ran."""
    last = device.sources[-1]
    yield from ("### Environment", "", *markdown(["", last.name], environment_rows(last.header.environment), left=2), "")
    for source in device.sources[:-1]:
        changed = differences(source.header.environment, last.header.environment)
        if changed:
            yield f"- since {source.name}: {', '.join(changed)}"
    yield ""
