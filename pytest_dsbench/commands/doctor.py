"""The command about what could run here: doctor."""

import argparse
from collections.abc import Generator
from pathlib import Path
from typing import Any

from .. import doctor
from ..hardware.device import capability, has_gpu
from ..mistake import Mistake
from ..report.doctor import doctor_lines, surprises


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("doctor", help="for each kernel under contract: is its library here, does it take our call")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="look at the wheels in a folder instead of what is installed")
    parser.set_defaults(command=_doctor)


def _doctor(given: argparse.Namespace) -> Generator[str, None, int]:
    """The exit code is 1 where a library is not as its contract says."""
    if given.wheels is not None and not given.wheels.is_dir():
        raise Mistake(f"--wheels {given.wheels}: no such folder")
    libraries = doctor.wheels(given.wheels) if given.wheels is not None else doctor.here()
    shown, number = "no GPU here: nothing is said about architectures", None
    if has_gpu():
        try:
            from ..hardware.device import device

            found = device()
        except ModuleNotFoundError as error:
            shown = f"a GPU is here; what it can run is not known without {error.name}: install pytest-dsbench[torch]"
        else:
            number = capability(found)
            shown = f"GPU here: {found}" + (f", sm_{number[0]}{number[1]}" if number else "")
    findings = doctor.examine(libraries, number)
    yield from doctor_lines(findings, shown)
    return 1 if surprises(findings) else 0
