"""The command about what changes of kernels cost a fleet: impact."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..mistake import Mistake
from ..report.serving.impact import configuration_lines, impact_csv, impact_lines
from ..report.serving.todo import todo_csv, todo_lines
from ..runs import Header, Run
from ..trace.write import save
from ..units import show_count
from . import gate
from .serving_grid import configuration, taken
from .serving_options import add_configuration_options, assumed

if TYPE_CHECKING:
    from ..gate.baseline import Baseline
    from ..serving.change.changes import Changes
    from ..serving.change.impact import Impact
    from ..serving.change.todo import Todo
    from ..serving.configuration import Configuration
    from ..serving.price.assumed import Assumed


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "impact", help="what the changes of kernels cost in tokens/s, and what faster kernels would gain"
    )
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a run file; without one every time is assumed")
    parser.add_argument("--against", metavar="BASELINE", help="a run, a baseline file, a folder of baselines or a git revision")
    parser.add_argument("--baselines", type=Path, default=Path("baselines"), metavar="DIR", help="folder (default: baselines)")
    parser.add_argument(
        "--todo",
        action="store_true",
        help="what each kernel is worth at T_SOL and by the best provider (default without --against)",
    )
    parser.add_argument("--provider", metavar="NAME", help="what the layers run, where it was measured (default: the fastest)")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write the costs as CSV; without --against, what would be gained"
    )
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="default: text")
    parser.add_argument("-v", "--verbose", action="store_true", help="every kernel, also those within noise")
    add_configuration_options(parser)
    parser.set_defaults(command=_impact)


def _impact(given: argparse.Namespace) -> Iterator[str]:
    run, header = gate.read_run(given.run) if given.run is not None else (None, None)
    if run is None and (given.against or given.provider):
        option = "--against" if given.against else "--provider"
        raise Mistake(
            f"impact: {option} is about the times of a run; expected a run file, as every pytest run writes one to runs/"
        )
    values = assumed(given)
    gpu = header.hardware if header is not None and header.hardware.kind == "gpu" else None
    chosen = configuration(given, values, gpu)
    _check_fits(chosen, values)
    changes, said = _changes(given, run, header, chosen)
    notes = [*_taken(given, chosen), *said]
    own = header is not None and header.hardware.name == chosen.gpu.name
    cost, todo = _both(given, chosen, values, changes, own)
    if given.csv is not None:
        save(given.csv, impact_csv(cost) if cost is not None else todo_csv(todo) if todo is not None else "")
    if given.format == "json":
        both = {"notes": notes, "impact": cost, "todo": todo}
        yield msgspec.json.format(msgspec.json.encode(both), indent=1).decode()
        return
    yield from _lines(given, chosen, values, notes, cost, todo)
    if given.csv is not None:
        yield f"written: {given.csv}"


def _taken(given: argparse.Namespace, chosen: "Configuration") -> Iterator[str]:
    why = {"ep": "the fewest GPUs that hold the model"}
    for option, value in taken(given, chosen).items():
        yield f"--{option} {value} is taken: {why.get(option, 'none was given')}"


def _both(
    given: argparse.Namespace, chosen: "Configuration", values: "Assumed", changes: "Changes | None", own: bool
) -> "tuple[Impact | None, Todo | None]":
    """What it cost where there is a baseline; what would be gained where that was asked for, or there is none."""
    from ..serving.change.impact import impact
    from ..serving.change.todo import todo

    cost = impact(chosen, values, changes, own) if given.against and changes is not None else None
    return cost, todo(chosen, values, changes, own) if given.todo or cost is None else None


def _check_fits(chosen: "Configuration", values: "Assumed") -> None:
    from ..serving.estimate import estimate
    from ..serving.search import axes

    refusal = axes.refusal(estimate(chosen, values), values)
    if refusal is not None:
        raise Mistake(refusal)


def _lines(
    given: argparse.Namespace,
    chosen: "Configuration",
    values: "Assumed",
    notes: list[str],
    cost: "Impact | None",
    todo: "Todo | None",
) -> Iterator[str]:
    from ..serving.grid import busiest

    title, *rest = configuration_lines(chosen, busiest(chosen.context, values, chosen.decode))
    lines = [*rest, *notes]
    if cost is not None:
        lines += ["", *impact_lines(cost, given.format, given.verbose)]
    if todo is not None:
        lines += ["", *todo_lines(todo, given.format)]
    if given.format == "markdown":
        yield f"### {title}"
        yield ""
        yield from (line if not line or line.startswith("|") else f"- {line.strip()}" for line in lines)
    else:
        yield title
        yield from lines


def _changes(
    given: argparse.Namespace, run: Run | None, header: Header | None, chosen: "Configuration"
) -> "tuple[Changes | None, list[str]]":
    """What the run says of its kernels, with a sentence for what a reader must know of it."""
    if run is None or header is None:
        return None, ["no run was given: every time is assumed"]
    from ..serving.change.changes import Changes
    from ..serving.change.timed import held, of_run

    notes = []
    if given.against:
        against, run, said = _against(given, run, header)
        notes += [f"{given.run} against {against.source}", *said]
        timed = held(run, header, against)
        why = Counter(one.unjudged for one in timed if one.unjudged)
        notes += [f"{show_count(count, 'case')} with the machine's part in the change: {reason}" for reason, count in why.items()]
    else:
        notes.append(f"times of {given.run}")
        timed = of_run(run)
    if given.provider is not None and all(one.case.provider != given.provider for one in timed):
        known = ", ".join(sorted({one.case.provider for one in timed})) or "none"
        raise Mistake(f"--provider: {given.run} has no time of {given.provider!r}; known: {known}")
    found = Changes(timed, given.provider)
    if elsewhere := _elsewhere(header, chosen):
        return found, notes + elsewhere
    # What beats the speed of light is wrong, and no time to reckon with.
    return found, notes + found.efficiencies(chosen.gpu, "then" if given.against else "now").left_out


def _elsewhere(header: Header, chosen: "Configuration") -> list[str]:
    here, there = header.hardware, chosen.gpu
    if here.name == there.name:
        return []
    carried = (
        f"measured on {here.name} ({here.title}): only ratios of its times carry over, the times on {there.name} are assumed"
    )
    doubt = "; what a kernel does on a CPU says little about a GPU" if here.kind != there.kind else ""
    return [carried + doubt]


def _against(given: argparse.Namespace, run: Run, header: Header) -> "tuple[Baseline, Run, list[str]]":
    """The baseline, and the run as it is held against it: without anchors two runs are held against each other as they are."""
    from .. import runs
    from ..gate import nights, sources
    from ..gate.baseline import contents, is_baseline
    from ..serving.change.timed import anchored

    root = Path.cwd()
    against = sources.find(given.against, (root / given.baselines).resolve(), header.hardware.name, root, "--against")
    for sentence in against.complaints:
        print(f"dsbench: {sentence}", file=sys.stderr)
    path = Path(given.against)
    if against.entries or not path.is_file() or is_baseline(contents(path)):
        return against, run, []
    bare = nights.of_run(anchored(runs.read(path)))
    if not bare.entries:
        return against, run, []
    note = "there are not anchors in both runs: what the machine itself did from one to the other is in the changes"
    return bare, anchored(run), [note]
