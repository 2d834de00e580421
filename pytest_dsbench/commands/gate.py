"""Commands about baselines: compare, baseline."""

import argparse
import sys
from collections.abc import Generator, Iterator, Sequence
from math import expm1
from pathlib import Path
from typing import Any

import msgspec

from .. import baseline as baselines
from .. import runs, sources
from ..baseline import Baseline, Entry
from ..finish import Finish, judge, save
from ..judgement import Judgement
from ..mistake import Mistake, unknown
from ..nights import tonight
from ..report.gate import markdown_lines, saved_lines, text_lines
from ..report.table import table
from ..runs import Header, Run
from ..screen import Scales
from ..stats import mad_scale
from ..thresholds import Thresholds
from ..units import show_seconds, show_share

_FORMATS = {"text": text_lines, "markdown": markdown_lines}


def add(commands: Any) -> None:
    """Adds the commands to the parser."""
    compare = commands.add_parser(
        "compare", help="a run against a baseline or another run; exit code 1 for a regression, 3 for an unfit environment"
    )
    compare.add_argument("then", metavar="A", help="a run, a baseline file, a folder of baselines or a git revision")
    compare.add_argument("now", metavar="B", type=Path, help="a run file")
    compare.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="default: text")
    _places(compare)
    compare.set_defaults(command=_compare)

    baseline = commands.add_parser("baseline", help="the stored baselines: show, accept, prune")
    actions = baseline.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="what is stored: levels, scatter, nights, notes")
    show.add_argument("operator", nargs="?", help="one operator, case by case")
    show.add_argument("--hw", metavar="NAME", help="of this hardware only")
    show.set_defaults(action=_show)
    take = actions.add_parser("accept", help="take a finished run into the stored baseline")
    take.add_argument("run", type=Path, metavar="RUN")
    take.add_argument("--reason", default="", help="why what lowers the bar is accepted")
    take.set_defaults(action=_accept)
    prune = actions.add_parser("prune", help="remove the entries that a finished run shows to be missing")
    prune.add_argument("run", type=Path, metavar="RUN")
    prune.set_defaults(action=_prune)
    for action in actions.choices.values():
        _places(action)
    baseline.set_defaults(command=_baseline, action=_nothing, actions=list(actions.choices))


def _places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--baselines", type=Path, default=Path("baselines"), metavar="DIR", help="folder (default: baselines)")


def _compare(given: argparse.Namespace) -> Generator[str, None, int]:
    run, header = _run(given.now)
    root = Path.cwd()
    against = sources.find(given.then, (root / given.baselines).resolve(), header.hardware.name, root, "A")
    judged = _judged(run, header, against)
    if given.format == "json":
        yield msgspec.json.format(msgspec.json.encode(judged), indent=1).decode()
    else:
        yield from _FORMATS[given.format](judged)
    return judged.code()


def _judged(run: Run, header: Header, against: Baseline) -> Judgement:
    return judge(tonight(run.measurements, header), header, run.confirmations, against, Thresholds())


def _run(path: Path) -> tuple[Run, Header]:
    """A run file with its first line. Raises Mistake."""
    if path.is_file() and baselines.is_baseline(baselines.contents(path)):
        raise Mistake(f"{path}: a baseline; expected a run file, as every pytest run that measures writes one to runs/")
    run = runs.read(path)
    _complain(run.complaints)
    if run.header is None:
        raise Mistake(f"{path}: the first line of the run is lost, and with it where it was measured")
    return run, run.header


def _complain(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        print(f"dsbench: {sentence}", file=sys.stderr)


def _baseline(given: argparse.Namespace) -> Iterator[str]:
    found: Iterator[str] = given.action(given)
    return found


def _nothing(given: argparse.Namespace) -> Iterator[str]:
    raise Mistake(f"baseline: expected an action: {', '.join(given.actions)}")


def _show(given: argparse.Namespace) -> Iterator[str]:
    found = [baselines.folder(given.baselines, name) for name in _stored(given)]
    for one in found:
        _complain(one.complaints)
    operators = {entry.operator for one in found for entry in one.entries.values()}
    if given.operator and given.operator not in operators:
        raise Mistake(f"baseline show: {unknown('operator of the stored baselines', given.operator, operators)}")
    for one in found:
        if not given.operator:
            yield from _operators(one)
        elif any(entry.operator == given.operator for entry in one.entries.values()):
            yield from _cases(one, given.operator)


def _stored(given: argparse.Namespace) -> list[str]:
    """The hardware there are baselines of. Raises Mistake where there is none."""
    names = sorted(one.name for one in given.baselines.glob("*") if any(one.glob("*.jsonl")))
    if not names:
        raise Mistake(f"{given.baselines}: no baselines here; pytest benches/ --dsbench-save begins one")
    if given.hw is not None and given.hw not in names:
        raise Mistake(f"--hw: {unknown('hardware of the stored baselines', given.hw, names)}")
    return [given.hw] if given.hw else names


def _operators(one: Baseline) -> Iterator[str]:
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


def _cases(one: Baseline, operator: str) -> Iterator[str]:
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


def _accept(given: argparse.Namespace) -> Iterator[str]:
    run, header = _run(given.run)
    stored = sources.stored(given.baselines, header.hardware.name)
    _complain(stored.complaints)
    judged = _judged(run, header, stored)
    found = tonight(run.measurements, header)
    taken, written = save(found, header, judged, stored, given.baselines, Thresholds(), given.reason)
    yield from saved_lines(Finish(judged=judged, taken=taken, written=written), str)


def _prune(given: argparse.Namespace) -> Iterator[str]:
    run, header = _run(given.run)
    if run.complaints or run.end is None or run.end.not_run:
        raise Mistake(f"{given.run}: the run was cut off or lost lines; only a whole run shows what is missing")
    stored = sources.stored(given.baselines, header.hardware.name)
    _complain(stored.complaints)
    missing = [one.case for one in _judged(run, header, stored).verdicts if one.outcome == "missing"]
    safe = [case for case in missing if case.operator not in stored.damaged]
    names = {case.identity for case in safe}
    kept = {name: entry for name, entry in stored.entries.items() if name not in names}
    baselines.write(given.baselines, stored.replace(entries=kept), {case.operator for case in safe})
    for case in safe:
        yield f"removed {case.name}"
    yield f"{len(safe)} of {len(stored.entries)} entries of {stored.source} removed"
