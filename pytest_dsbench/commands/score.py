"""Commands about a run: score."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .. import runs, score
from ..hardware import named
from ..mistake import Mistake
from ..report.score import importances, published_lines, score_lines
from ..shapes import bundled, load


def add(commands: Any) -> None:
    """Adds the commands to the parser."""
    parser = commands.add_parser("score", help="importance-weighted efficiency of a run, or of the published production times")
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a run file")
    parser.add_argument("--published", action="store_true", help="the published times against the published bounds")
    parser.add_argument("--provider", metavar="NAME", help="this provider alone (default: each case by its fastest)")
    parser.set_defaults(command=_score)


def _score(given: argparse.Namespace) -> list[str]:
    if given.published == (given.run is not None):
        raise Mistake("score: expected a run file or --published, such as `dsbench score runs/20261121T101031Z-h200.jsonl`")
    known = load(bundled()).cases
    if given.published:
        return published_lines(known, measured=named("xpu_a"), other=named("h20"))
    run = runs.read(given.run)
    for complaint in run.complaints:
        print(f"dsbench: {complaint}", file=sys.stderr)
    return score_lines(score.entries(run.measurements, given.provider), importances(known))
