"""Is an interpreter fit for a duet? Asked before any process of it is started for good."""

import re
import shutil
import subprocess
from pathlib import Path

from ..mistake import Mistake
from .process import environ

#: What a worker needs beside the standard library and the harness, which it is given.
_NEEDS = ("torch", "msgspec")
_OLDEST = (3, 11)
_QUESTION = (
    "import sys; from importlib.util import find_spec; "
    f"print('python', *sys.version_info[:2], *(name for name in {_NEEDS!r} if find_spec(name) is None))"
)
#: Seconds that any interpreter answers within.
_PATIENCE = 60


def interpreter(word: str, option: str) -> Path:
    """The interpreter that `option` names, by path or as a command. Raises Mistake where it cannot take part in a duet."""
    found = shutil.which(word)
    if found is None:
        what = "cannot be executed" if Path(word).exists() else "does not exist"
        raise Mistake(f"{option}: {word} {what}; expected the path of a Python interpreter")
    # Not resolved: the link in a virtual environment is what tells Python which one it is.
    path = Path(found).absolute()
    answer = _answer(path)
    if answer is None:
        raise Mistake(f"{option}: {word} is not a Python interpreter")
    major, minor, *lacking = answer
    if (int(major), int(minor)) < _OLDEST:
        raise Mistake(f"{option}: {word} is Python {major}.{minor}; a duet needs {_OLDEST[0]}.{_OLDEST[1]} or newer")
    if lacking:
        raise Mistake(
            f"{option}: {word} has no {' and no '.join(lacking)}; a duet needs {' and '.join(_NEEDS)} in both interpreters"
        )
    return path


def _answer(path: Path) -> list[str] | None:
    """Its version, and what it lacks; None where it does not answer as Python would."""
    try:
        done = subprocess.run(
            [str(path), "-c", _QUESTION],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            # Not what lies in the current folder, which -c would find first.
            env={**environ(), "PYTHONSAFEPATH": "1"},
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    line = (done.stdout.strip().splitlines() or [""])[-1]
    return line.split()[1:] if re.match(r"python \d+ \d+\b", line) else None
