"""The command about whole layers: layer."""

import argparse
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from .. import layers, modelfile, runs
from ..layers import Layer
from ..mistake import Mistake, unknown
from ..model import Model
from ..plan import sheet
from ..report.bounds import headline
from ..report.layer import errors, layer_lines
from ..shapes import bundled

_AXES = ("batch", "sequence", "context")


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("layer", help="what a layer of a model takes: from a run, or from T_SOL on a data sheet")
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a run file")
    parser.add_argument("--model", metavar="NAME", help="a model, such as deepseek_r1, or a .toml file")
    parser.add_argument("--hw", metavar="NAME", help="instead of a run: the bounds on this data sheet")
    parser.add_argument("--provider", metavar="NAME", help="this provider alone (default: each op by its fastest)")
    parser.add_argument("--phase", metavar="NAME", help="this phase alone, such as decode")
    for axis in _AXES:
        parser.add_argument(
            f"--{axis}", type=int, metavar="N", help=f"show the tables of this {axis} (default: those the model names)"
        )
    parser.set_defaults(command=_layer)


def _layer(given: argparse.Namespace) -> Generator[str, None, int]:
    """The exit code is 1 where a time of the run beats the speed of light."""
    if (given.run is None) == (given.hw is None):
        raise Mistake("layer: expected a run file or --hw, such as `dsbench layer --model deepseek_r1 --hw gb200`")
    if given.hw and given.provider:
        raise Mistake("layer: --provider chooses among the times of a run, and --hw has none; leave one of them out")
    folders = (Path("models"), *bundled())
    if given.model is None:
        raise Mistake(f"layer: expected --model and one of {', '.join(modelfile.names(folders))}, or the path of a .toml file")
    model = modelfile.named(given.model, folders)
    if given.hw:
        hardware = sheet(given.hw)
        found = layers.from_bounds(model, hardware)
    else:
        run = runs.read(given.run)
        for complaint in run.complaints:
            print(f"dsbench: {complaint}", file=sys.stderr)
        if run.header is None:
            raise Mistake(f"{given.run}: no header, which names the device; expected a run file")
        hardware = run.header.hardware
        found = layers.from_run(model, run.measurements, hardware, given.provider)
    found = _of_phase(model, found, given.phase)
    shown = _shown(found, given)
    yield headline(hardware)
    yield from layer_lines(shown, found, bounds=bool(given.hw))
    wrong = errors(found)
    yield from (f"error: {sentence}" for sentence in wrong)
    return 1 if wrong else 0


def _of_phase(model: Model, found: list[Layer], phase: str | None) -> list[Layer]:
    names = [one.name for one in model.phase]
    if phase is not None and phase not in names:
        raise Mistake(f"--phase: {unknown('phase', phase, names)}")
    return [one for one in found if phase in (None, one.phase.name)]


def _shown(found: list[Layer], given: argparse.Namespace) -> list[Layer]:
    """The points that were asked for; those that the model names where none were."""
    wanted = {axis: getattr(given, axis) for axis in _AXES if getattr(given, axis) is not None}
    if not wanted:
        return [one for one in found if not one.phase.shown or one.point in one.phase.shown]
    shown = found
    for axis, value in wanted.items():
        known = sorted({getattr(one.point, axis) for one in shown})
        shown = [one for one in shown if getattr(one.point, axis) == value]
        if not shown:
            raise Mistake(f"--{axis}: no point of the model has {value}; known: {', '.join(map(str, known))}")
    return shown
