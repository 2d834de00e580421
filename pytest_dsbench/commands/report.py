"""The command about what people look at: report."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..environment import own_version
from ..mistake import Mistake
from ..report.bundle import bundle
from ..results import collect


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("report", help="tables, a summary, pictures and a web page of one or more runs")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run files, or folders of them")
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="folder to write to (default: report)")
    parser.set_defaults(command=_report)


def _report(given: argparse.Namespace) -> Iterator[str]:
    if given.out.exists() and not given.out.is_dir():
        raise Mistake(f"--out {given.out}: a file; expected a folder, which is made where there is none")
    collection = collect(given.runs)
    yield from collection.remarks
    yield f"{len(collection.latest)} cases of {len({one.kernel for one in collection.latest})} kernels"
    yield from bundle(collection, given.out, own_version())
