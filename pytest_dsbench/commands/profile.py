"""The command about measured layers: profile."""

import argparse
from collections.abc import Generator, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import profile as profiles
from ..hardware import named
from ..mistake import Mistake, unknown
from ..profile import Profile, bounds, csvwrite
from ..profile.compare import compare, foreign
from ..profile.files import bundled
from ..profile.lights import lights
from ..report.plots.write import SUFFIXES
from ..report.profile import comparison_lines, foreign_lines, head_lines, row_lines, total_lines
from ..report.profile_bounds import bound_lines


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("profile", help="the measured times of a layer: sums, shares, devices side by side, T_SOL")
    parser.add_argument("profile", nargs="?", metavar="FILE", help="a .csv or .toml file, or a name such as deepseek_d4")
    parser.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="[DEVICE.]NAME=N",
        help="what was not published, such as tokens=128 or b200.tokens=512; may be repeated",
    )
    parser.add_argument(
        "--hw", action="append", default=[], metavar="DEVICE=SHEET", help="the data sheet of a device, such as gpu0=h200"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help=f"draw the layer as a waterfall ({', '.join(SUFFIXES)})")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the profile as CSV")
    parser.add_argument("--toml", type=Path, metavar="FILE", help="write the profile as TOML")
    parser.set_defaults(command=_profile)


def _profile(given: argparse.Namespace) -> Generator[str, None, int]:
    """The exit code is 1 where a row beats the speed of light."""
    folders = (Path("profiles"), bundled())
    if given.profile is None:
        known = ", ".join(profiles.names(folders))
        raise Mistake(f"profile: expected a .csv or .toml file, or one of {known}, such as `dsbench profile deepseek_d4`")
    found = _with_sheets(profiles.named(given.profile, folders), given.hw)
    sheets = {device.name: named(device.hw) for device in found.devices if device.hw is not None}
    at = bounds.stated(found, given.at)
    written = [*_written(found, given)]
    yield from head_lines(found, sheets)
    yield from ["", *row_lines(found), "", *total_lines(found)]
    light = lights(found, sheets, at)
    for device in found.devices[1:]:
        yield from ["", *comparison_lines(compare(found, device, sheets, at), sheets, light)]
    yield from bound_lines(found, light)
    remarks = [*foreign_lines(foreign(found, sheets)), *(f"note: {note}" for note in found.notes)]
    yield from _block([*remarks, *_row_notes(found)])
    yield from _block(written)
    yield from _block([f"error: {sentence}" for sentence in light.errors])
    return 1 if light.errors else 0


def _block(lines: Sequence[str]) -> Iterator[str]:
    """Lines after an empty one, where there are any."""
    if lines:
        yield from ["", *lines]


def _row_notes(found: Profile) -> Iterator[str]:
    yield from (f"note: {row.label}: {row.note}" for row in found.rows if row.note)


def _with_sheets(found: Profile, given: Sequence[str]) -> Profile:
    """The profile with the sheets that --hw names. Raises Mistake."""
    sheets = {}
    names = [device.name for device in found.devices]
    for text in given:
        device, equals, sheet = text.partition("=")
        if not equals:
            raise Mistake(f"--hw {text!r}: expected DEVICE=SHEET, such as {names[0]}=h200")
        if device not in names:
            raise Mistake(f"--hw {text!r}: {unknown('device', device, names)}")
        named(sheet)
        sheets[device] = sheet
    return found.replace(devices=tuple(one.replace(hw=sheets.get(one.name, one.hw)) for one in found.devices))


def _written(found: Profile, given: argparse.Namespace) -> Iterator[str]:
    """Writes the files that were asked for. Raises Mistake before anything is printed where one cannot be written."""
    for option, path, text in (("--csv", given.csv, csvwrite.write), ("--toml", given.toml, profiles.write)):
        if path:
            try:
                path.write_text(text(found), encoding="utf-8")
            except OSError as error:
                raise Mistake(f"{option}: cannot write {path}: {error.strerror or error}") from None
            yield f"written to {path}"
    if given.plot:
        if find_spec("matplotlib") is None:
            raise Mistake("--plot needs matplotlib; pip install pytest-dsbench[report] brings it")
        from ..report.waterfall import plot

        plot(found, given.plot)
        yield f"drawn to {given.plot}"
