"""The command about traces of torch.profiler: trace."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..hardware import named
from ..hardware.sheet import Hardware
from ..mistake import Mistake
from ..profile.tomlfile import write as as_toml
from ..report.trace import trace_lines
from ..trace.mapping import Mapping
from ..trace.summary import Summary, summarise
from ..trace.write import as_csv, profile, save, write_shapes


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("trace", help="what ran in traces of torch.profiler, as operators of ours with their shapes")
    parser.add_argument("file", nargs="+", type=Path, metavar="FILE", help="a trace, .json or .json.gz; one for each rank")
    parser.add_argument("--steps", metavar="RANGE", help="these steps alone, such as 3-5, 3- or 3,5 (default: all)")
    parser.add_argument("--hw", metavar="NAME", help="hold the times against this data sheet (default: that of the device)")
    parser.add_argument("--map", action="append", type=Path, default=[], metavar="FILE", help="a table of your own before ours")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="rows of each table (default: 20)")
    parser.add_argument("--shapes", type=Path, metavar="DIR", help="write a shape file for each operator")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="write a layer profile, .toml")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all rows")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    parser.set_defaults(command=_trace)


def _trace(given: argparse.Namespace) -> Iterator[str]:
    if given.top < 1:
        raise Mistake(f"--top {given.top}: expected at least 1")
    if given.profile is not None and given.profile.suffix != ".toml":
        raise Mistake(f"--profile {given.profile}: expected a name that ends in .toml")
    _writable(given)
    hardware = named(given.hw) if given.hw else None
    summary = summarise(given.file, Mapping(given.map), given.steps)
    if hardware is not None and summary.cpu:
        raise Mistake(f"--hw {given.hw}: this is a CPU trace, whose times no GPU's data sheet bounds; leave --hw out")
    for complaint in (complaint for one in summary.parts for complaint in one.complaints):
        print(f"dsbench: {complaint}", file=sys.stderr)
    hardware = hardware or summary.sheet()
    # Before the text, whose reader, such as `head`, may have seen enough of it.
    written = list(_written(given, summary, hardware))
    yield from trace_lines(summary, hardware, given.top)
    yield from written


def _writable(given: argparse.Namespace) -> None:
    """Raises Mistake before the work for what could not be written after it."""
    for option in ("profile", "csv"):
        path = getattr(given, option)
        if path is not None and path.exists() and not given.force:
            raise Mistake(f"--{option} {path} is there already; give another name, or --force")
    if given.shapes is not None and given.shapes.exists() and not given.shapes.is_dir():
        raise Mistake(f"--shapes {given.shapes} is a file; expected a folder")


def _written(given: argparse.Namespace, summary: Summary, hardware: Hardware | None) -> Iterator[str]:
    if given.shapes is not None:
        yield from write_shapes(summary, given.shapes, given.force)
    if given.profile is not None:
        save(given.profile, as_toml(profile(summary, given.profile.stem, hardware)))
        yield f"written: {given.profile}"
    if given.csv is not None:
        save(given.csv, as_csv(summary, hardware))
        yield f"written: {given.csv}"
