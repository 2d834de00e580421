"""The corrected variant of serve: a search over configurations, and one of them in full."""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .. import units
from ..mistake import Mistake
from ..report.plots.write import checked
from ..report.serving.deployments import deployment_lines
from ..report.serving.search import search_lines
from ..trace.write import save
from . import serving_grid, serving_options

if TYPE_CHECKING:
    from ..serving.estimate import Estimate
    from ..serving.grid import Grid
    from ..serving.price.assumed import Assumed
    from ..serving.price.efficiencies import Efficiencies
    from ..serving.search.search import Floor, Found

#: Options that this variant has alone.
OWN = frozenset(
    (
        *("config", "ignore_field", "tp", "precision", "cache", "batch", "context", "phase", "redundant", "assume", "run"),
        *("target_tpot", "target_ttft", "top", "plot", "explain", "timeline", "shapes", "deployments"),
    )
)
#: Options that need a model; --deployments has its own.
_OF_A_MODEL = OWN - {"deployments", "assume"} | {"model", "gpu", "nic", "ep", "policy", "mtp", "csv", "target_tps"}


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this variant."""
    parser.add_argument("--target-tpot", metavar="TIME", help="instead of tokens/s: seconds per token at most, such as 50ms")
    parser.add_argument("--target-ttft", metavar="TIME", help="of prefill: seconds to the first token at most, such as 500ms")
    parser.add_argument("--run", type=Path, action="append", metavar="FILE", help="a run with measured efficiencies (repeatable)")
    parser.add_argument("--top", type=int, metavar="N", help="show the N best (default: 20)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the Pareto fronts (.png, .svg)")
    parser.add_argument("--explain", action="store_true", help="the best, or the only one, down to its kernels")
    parser.add_argument("--timeline", type=Path, metavar="FILE", help="draw a layer of it (.png, .svg)")
    parser.add_argument("--shapes", type=Path, metavar="DIR", help="write its shapes that no run has measured as shape files")
    parser.add_argument("--deployments", action="store_true", help="the model beside deployments that were measured")


def corrected(given: argparse.Namespace) -> Iterator[str]:
    """What the search finds; or deployments that were measured beside what the model says of them."""
    assumed = serving_options.assumed(given)
    if given.deployments:
        yield from _deployments(given, assumed)
        return
    _check_paths(given)
    if given.top is not None and given.top < 1:
        raise Mistake(f"--top {given.top}: expected at least 1")
    floor, grid = _floor(given), serving_grid.grid(given, assumed)
    known, complaints = serving_options.efficiencies(given.run, grid.gpus) if given.run else (None, [])
    for complaint in complaints:
        print(f"dsbench: {complaint}", file=sys.stderr)
    found, best = _search(given, grid, assumed, known, floor)
    # Before the text, whose reader, such as `head`, may have seen enough of it.
    written = list(_written(given, found, best, assumed))
    if not given.explain or grid.size > 1:
        yield from serving_grid.notes(given, grid)
        yield from search_lines(found, given.top or 20, best, assumed, bool(given.run))
    if given.explain and best is not None:
        from ..report.serving.explain import explain_lines

        if grid.size > 1:
            yield from ("", "the best of them", "")
        yield from explain_lines(best, assumed)
    yield from written


def _search(
    given: argparse.Namespace, grid: "Grid", assumed: "Assumed", known: "Efficiencies | None", floor: "Floor | None"
) -> "tuple[Found, Estimate | None]":
    """What was found, and the best of it in full; of one configuration that one, fast enough or not."""
    from ..serving.configuration import at
    from ..serving.estimate import estimate
    from ..serving.search import axes, search

    if grid.size == 1:
        axes.check(at(grid, 0))
    found = search.search(grid, assumed, known, floor)
    if not len(found.front):
        near = found.nearest()
        if near is None:
            axes.check(at(grid, 0))
            raise AssertionError("a configuration that can run did not")
        refused = axes.refusal(estimate(near, assumed, known), assumed)
        raise Mistake(refused if grid.size == 1 else f"none of {grid.size:,} configurations fits; the nearest: {refused}")
    if len(found.best) or grid.size == 1:
        return found, estimate(at(grid, int([*found.best, 0][0])), assumed, known)
    for option in ("explain", "timeline", "shapes"):
        if getattr(given, option):
            raise Mistake(f"--{option}: nothing is fast enough for a user; lower the target, or give one configuration")
    return found, None


def _floor(given: argparse.Namespace) -> "Floor | None":
    """The target that was given; 20 tokens/s in decode where none was."""
    from ..serving.search.search import Floor

    decode = (given.phase or "decode") == "decode"
    asked = [name for name in ("tps", "tpot", "ttft") if getattr(given, f"target_{name}") is not None]
    if len(asked) > 1:
        raise Mistake(f"--target-{asked[1]}: --target-{asked[0]} is a target already; leave one of them out")
    if not asked:
        return Floor(of="tps", value=20.0) if decode else None
    (name,) = asked
    if decode == (name == "ttft"):
        better = "--target-tps or --target-tpot" if decode else "--target-ttft"
        raise Mistake(f"--target-{name}: {'decode' if decode else 'prefill'} has no such target; expected {better}")
    value = getattr(given, f"target_{name}")
    if name == "tps":
        return Floor(of="tps", value=tokens(value))
    return Floor(of="tpot" if decode else "ttft", value=_time(value, f"--target-{name}"))


def tokens(value: float) -> float:
    """Tokens/s of a user, checked."""
    if not (math.isfinite(value) and value > 0):
        raise Mistake(f"--target-tps {value:g}: expected tokens per second above zero, such as 20")
    return value


def _time(text: str, option: str) -> float:
    try:
        seconds = units.quantity(text, "s")
    except Mistake:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise Mistake(f"{option} {text!r}: expected a time above zero, such as 50ms")
    return seconds


def _check_paths(given: argparse.Namespace) -> None:
    """Raises Mistake before the work for what could not be written after it."""
    for option in ("plot", "timeline"):
        path = getattr(given, option)
        if path is not None:
            checked(path, f"--{option}")
            if find_spec("matplotlib") is None:
                raise Mistake(f"--{option} needs matplotlib; pip install pytest-dsbench[report] brings it")
            if not path.parent.is_dir():
                raise Mistake(f"--{option}: cannot write {path}: no such folder")
    for option in ("csv", "plot", "timeline"):
        path = getattr(given, option)
        if path is not None and path.is_dir():
            raise Mistake(f"--{option}: cannot write {path}: Is a directory")
    for option in ("csv", "plot", "timeline", "shapes"):
        path = getattr(given, option)
        if path is not None:
            _check_writable(path, option)
    if given.shapes is not None and given.shapes.exists() and (not given.shapes.is_dir() or any(given.shapes.glob("*.toml"))):
        what = "has shape files already" if given.shapes.is_dir() else "is a file"
        raise Mistake(f"--shapes {given.shapes} {what}; expected a new folder, or an empty one")


def _check_writable(path: Path, option: str) -> None:
    """A folder that a path would be made in must be one, and one that may be written to."""
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not there.is_dir() and there != path:
        raise Mistake(f"--{option}: cannot write {path}: {there} is no folder")
    if not os.access(there, os.W_OK):
        raise Mistake(f"--{option}: cannot write {path}: Permission denied")


def _written(given: argparse.Namespace, found: "Found", best: "Estimate | None", assumed: "Assumed") -> Iterator[str]:
    if given.csv is not None:
        from ..serving.search.rows import as_csv

        save(given.csv, as_csv(found))
        yield f"written: {given.csv}"
    if given.plot is not None:
        from ..report.plots import pareto

        pareto.draw(found, assumed, given.plot, given.run or ())
        yield f"drawn to {given.plot}"
    if best is None:
        return
    if given.timeline is not None:
        from ..report.plots import timeline

        timeline.draw(best, given.timeline)
        yield f"drawn to {given.timeline}"
    if given.shapes is not None:
        yield from _write_shapes(best, given.shapes)


def _write_shapes(best: "Estimate", folder: Path) -> Iterator[str]:
    from ..report.serving import words
    from ..serving.search.wanted import shape_files, wanted

    missing, given = wanted(best), best.configuration
    files = shape_files(missing, f"{words.title(given)}, {words.layout(given)}, {words.load(given, best.context)}")
    for name, text in files.items():
        save(folder / name, text)
    yield f"{units.show_count(len(missing.shapes), 'shape')} of {units.show_count(len(files), 'operator')} written to {folder}"
    if missing.inexact:
        kernels = units.show_count(missing.inexact, "kernel")
        yield f"left out: {kernels}, of which an operator's measurement would not hold, such as one product for each head"


def _deployments(given: argparse.Namespace, assumed: "Assumed") -> Iterator[str]:
    for option in sorted(_OF_A_MODEL):
        if getattr(given, option) not in (None, False):
            raise Mistake(f"--{option.replace('_', '-')}: --deployments has configurations of its own; leave one of them out")
    from ..serving.deployments import held

    yield from deployment_lines(held(assumed))
