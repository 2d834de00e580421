"""Commands about baselines: compare, baseline."""

import argparse
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .. import runs
from ..gate import baseline as baselines
from ..gate import sources
from ..gate.baseline import Baseline
from ..gate.finish import Finish, judge, save
from ..gate.judgement import Judgement
from ..gate.nights import tonight
from ..mistake import Mistake, unknown
from ..report.baselines import case_lines, operator_lines
from ..report.gate import markdown_lines, saved_lines, text_lines
from ..runs import Header, Run
from .served import impacts

_FORMATS = {"text": text_lines, "markdown": markdown_lines}


def add(commands: Any) -> None:
    """Adds the commands to the parser."""
    compare = commands.add_parser(
        "compare", help="a run against a baseline or another run; exit code 1 for a regression, 3 for an unfit environment"
    )
    compare.add_argument("then", metavar="A", help="a run, a baseline file, a folder of baselines or a git revision")
    compare.add_argument("now", metavar="B", type=Path, help="a run file")
    compare.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="default: text")
    compare.add_argument(
        "--serving",
        action="append",
        default=[],
        metavar="MODEL[,KEY=VALUE...]",
        help="what the confirmed changes cost this in tokens/s, such as deepseek_v3,gpu=h800,ep=144,batch=88 (repeatable)",
    )
    compare.add_argument("-v", "--verbose", action="store_true", help="every case, not only what stands out")
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
    run, header = read_run(given.now)
    root = Path.cwd()
    against = sources.find(given.then, (root / given.baselines).resolve(), header.hardware.name, root, "A")
    judged = _judged(run, header, against)
    found = list(impacts(given.serving, "--serving", judged, header, run.measurements)) if given.serving else []
    if given.format == "json":
        values = msgspec.to_builtins(judged) | ({"serving": dict(found)} if found else {})
        yield msgspec.json.format(msgspec.json.encode(values), indent=1).decode()
    else:
        yield from _FORMATS[given.format](judged, given.verbose, found)
    return judged.code()


def _judged(run: Run, header: Header, against: Baseline) -> Judgement:
    return judge(tonight(run.measurements, header), header, run.confirmations, against, header.limits)


def read_run(path: Path) -> tuple[Run, Header]:
    """A run file with its first line. Raises Mistake."""
    if path.is_file() and baselines.is_baseline(baselines.contents(path)):
        raise Mistake(f"{path}: a baseline; expected a run file, as every pytest run that measures writes one to runs/")
    run = runs.read(path)
    _complain(run.complaints)
    if run.header is None:
        raise Mistake(f"{path}: the first line of the run is lost, and with it where it was measured")
    sources.refuse_imported(path, run.header)
    return run, run.header


def _complain(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        print(f"dsbench: {sentence}", file=sys.stderr)


def _baseline(given: argparse.Namespace) -> Iterator[str]:
    lines: Iterator[str] = given.action(given)
    return lines


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
            yield from operator_lines(one)
        elif any(entry.operator == given.operator for entry in one.entries.values()):
            yield from case_lines(one, given.operator)


def _stored(given: argparse.Namespace) -> list[str]:
    """The hardware there are baselines of. Raises Mistake where there is none."""
    names = sorted(one.name for one in given.baselines.glob("*") if any(one.glob("*.jsonl")))
    if not names:
        raise Mistake(f"{given.baselines}: no baselines here; pytest benches/ --dsbench-save begins one")
    if given.hw is not None and given.hw not in names:
        raise Mistake(f"--hw: {unknown('hardware of the stored baselines', given.hw, names)}")
    return [given.hw] if given.hw else names


def _accept(given: argparse.Namespace) -> Generator[str, None, int]:
    run, header = read_run(given.run)
    stored = sources.stored(given.baselines, header.hardware.name)
    _complain(stored.complaints)
    judged = _judged(run, header, stored)
    found = tonight(run.measurements, header)
    taken, written = save(found, header, judged, stored, given.baselines, header.limits, given.reason)
    yield from saved_lines(Finish(judged=judged, taken=taken, written=written), str)
    return int(taken.reason_wanted)


def _prune(given: argparse.Namespace) -> Iterator[str]:
    run, header = read_run(given.run)
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
