"""Commands about many runs: history."""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import runs
from ..history import Series, collect
from ..mistake import Mistake, unknown
from ..report.history import overview_lines, series_lines
from ..report.plots.history import plot
from ..report.plots.write import SUFFIXES

#: Series shown in full, and panels of a plot, at most.
_MOST = 20


def add(commands: Any) -> None:
    """Adds the commands to the parser."""
    parser = commands.add_parser("history", help="the times of a case over the runs of a folder, and where their level stepped")
    parser.add_argument("case", metavar="OPERATOR[case]", help="an operator, or its cases with this label or a part of it")
    parser.add_argument("--provider", metavar="NAME", help="this provider alone (default: all)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of run files (default: runs)")
    parser.add_argument("--last", type=int, metavar="N", help="show the last N runs; levels are found from all")
    parser.add_argument("--plot", type=Path, metavar="FILE", help=f"draw it to this file ({', '.join(SUFFIXES)})")
    parser.set_defaults(command=_history)


def _history(given: argparse.Namespace) -> Iterator[str]:
    operator, label = _asked(given.case)
    if given.last is not None and given.last < 1:
        raise Mistake(f"--last {given.last}: expected a number of runs, 1 or more")
    if given.plot and find_spec("matplotlib") is None:
        raise Mistake("--plot needs matplotlib; pip install pytest-dsbench[report] brings it")
    found = _chosen(collect(_read(given.runs)), operator, label, given.provider)
    shown = found[:_MOST]
    if given.plot:
        plot(shown, given.plot, given.last, f"from {given.runs}")
    if label is None:
        yield from overview_lines(found, given.last)
    else:
        for number, series in enumerate(shown):
            yield from ["", *series_lines(series, given.last)] if number else series_lines(series, given.last)
    yield from _closing(given, len(found), label)


def _closing(given: argparse.Namespace, found: int, label: str | None) -> Iterator[str]:
    """What was left out, and the plot: where it is, or that there could be one."""
    drawable = given.plot is None and find_spec("matplotlib") is not None
    if found <= _MOST or (label is None and not given.plot):
        left_out = ""
    else:
        left_out = f"{found - _MOST} more series are not {'shown' if label is not None else 'drawn'}; a longer label finds fewer"
    remarks = [left_out, f"drawn to {given.plot}" if given.plot else "--plot FILE draws this" if drawable else ""]
    if any(remarks):
        yield from ["", *filter(None, remarks)]


def _asked(text: str) -> tuple[str, str | None]:
    """OPERATOR or OPERATOR[case] -> the operator and the label, None where none was given."""
    match = re.fullmatch(r"([^\[\]\s]+)(?:\[(.*)\])?", text)
    if match is None:
        raise Mistake(f"{text!r} is not a case; expected OPERATOR or OPERATOR[case], such as rms_norm[tokens4096-hidden7168]")
    return match[1], match[2]


def _read(folder: Path) -> Iterator[runs.Run]:
    """The runs of a folder one by one. What cannot be read is said on stderr, and the rest is used."""
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        what = "has no run files (*.jsonl)" if folder.is_dir() else "is not a folder"
        raise Mistake(f"--runs: {folder} {what}; every pytest run that measures writes one to runs/")
    for path in paths:
        try:
            run = runs.read(path)
        except (OSError, Mistake) as error:
            _complain(str(error))
            continue
        for complaint in run.complaints:
            _complain(complaint)
        if run.header is None:
            _complain(f"{path}: its first line, with the time and the environment of the run, is missing; the file is left out")
        yield run


def _complain(sentence: str) -> None:
    print(f"dsbench: {sentence}", file=sys.stderr)


def _chosen(series: Sequence[Series], operator: str, label: str | None, provider: str | None) -> list[Series]:
    """The series that are asked for; there is one at least. Raises Mistake naming what was not found."""
    found = [one for one in series if one.operator == operator]
    if not found:
        raise Mistake(unknown("operator of these runs", operator, {one.operator for one in series}))
    providers = {one.provider for one in found}
    if provider is not None and provider not in providers:
        raise Mistake(f"--provider: {unknown(f'provider of {operator} in these runs', provider, providers)}")
    found = [one for one in found if provider in (None, one.provider)]
    return found if label is None else _labelled(found, operator, label)


def _labelled(found: Sequence[Series], operator: str, label: str) -> list[Series]:
    """The series of that label, or else those whose label contains it."""
    matching = [one for one in found if one.label == label] or [one for one in found if label in one.label]
    if not matching:
        close = get_close_matches(label, sorted({one.label for one in found}), n=1)
        hint = f"did you mean {operator}[{close[0]}]? " if close else ""
        raise Mistake(f"no case of {operator} in these runs is labelled {label!r}; {hint}dsbench history {operator} lists them")
    return matching
