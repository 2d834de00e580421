"""The command duet: an old provider against a new one, in turns on one device."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from ..duet.cases import FILE, Listing
from ..duet.conduct import Duel, Settings, Side, duet
from ..duet.interpreter import interpreter
from ..duet.orders import Setup
from ..duet.worktree import worktree
from ..lock import device_lock
from ..mistake import Mistake
from ..record import from_line, to_line
from ..report.duet import count_line, duel_lines, head_line

#: With one of these the command's exit code is 1.
_ALARMS = ("regressed", "invalid", "crashed", "timed_out")
#: pytest's exit code where nothing was selected.
_NOTHING = 5


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("duet", help="old and new providers against each other, in turns in living processes")
    parser.add_argument("path", nargs="*", metavar="PATH", help="benches, as pytest takes them (default: benches)")
    parser.add_argument("--old", metavar="PYTHON", help="the interpreter of the old environment (default: that of the new one)")
    parser.add_argument("--old-ref", metavar="GIT_REF", help="the commit with the old kernels (default: the files that are here)")
    parser.add_argument(
        "--new", metavar="PYTHON", default=sys.executable, help="the interpreter of the new one (default: this one)"
    )
    parser.add_argument("-k", metavar="EXPR", help="only benches whose names match, as pytest's -k")
    parser.add_argument("-m", metavar="MARK", help="only benches with these marks, as pytest's -m")
    parser.add_argument("--provider", metavar="NAMES", help="comma-separated providers (default: all that are not opt-in)")
    parser.add_argument("--hw", metavar="NAME", help="data sheet: a name, a .toml, or cpu (default: detect)")
    parser.add_argument("--pairs", type=_count, default=9, metavar="N", help="fresh pairs of processes (default: 9)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write one JSON line per case")
    parser.set_defaults(command=_duet)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected how many pairs, at least 1")
    return int(text)


def _duet(given: argparse.Namespace) -> Generator[str, None, int]:
    if not given.old and not given.old_ref:
        raise Mistake("duet: expected --old=PYTHON or --old-ref=GIT_REF, the side to compare with")
    new = interpreter(given.new, "--new")
    old = interpreter(given.old, "--old") if given.old else new
    found = _listed(new, given)
    with ExitStack() as stack:
        if found.lock:
            stack.enter_context(device_lock(found.lock))
        file = stack.enter_context(_open(given.json)) if given.json else None
        root = Path(found.root)
        then = stack.enter_context(worktree(root, given.old_ref)) if given.old_ref else root
        sides = (
            Side(python=old, root=then, label=f"old ({given.old_ref or given.old})"),
            Side(python=new, root=root, label="new"),
        )
        settings = Settings(pairs=given.pairs, setup=Setup(hw=given.hw))
        results = duet(*sides, found.cases, settings, _progress())
        return (yield from _shown(found, results, file))


def _shown(found: Listing, results: Any, file: BinaryIO | None) -> Generator[str, None, int]:
    """The table, line by line; the exit code."""
    width = max(len(case.name) for case in found.cases)
    duels: list[Duel] = []
    yield head_line(width)
    for duel in results:
        duels.append(duel)
        if file:
            file.write(to_line(duel))
        yield from duel_lines(duel, width)
    left_out = (
        f"; {found.left_out} left out: only cases of shape files and benches by hand can be compared" if found.left_out else ""
    )
    yield f"{count_line(duels)}{left_out}"
    return int(any(duel.outcome in _ALARMS for duel in duels))


def _progress() -> Callable[[str], None]:
    """Says on a terminal what is going on, in a line that the next one takes the place of."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda text: print(f"\r\033[K{text}\r", end="", file=sys.stderr, flush=True)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise Mistake(f"--json={path}: cannot write the results: {error.strerror}") from None


def _listed(python: Path, given: argparse.Namespace) -> Listing:
    """The cases that pytest selects in the new environment. Raises Mistake where there are none."""
    with tempfile.TemporaryDirectory(prefix="dsbench-duet-") as folder:
        file = Path(folder) / "listing.json"
        words = [str(python), "-m", "pytest", *(given.path or ["benches"]), *_selection(given)]
        words += ["--collect-only", "-q", "-p", "pytest_dsbench.listing", "-p", "no:cacheprovider"]
        done = subprocess.run(
            words,
            env={**os.environ, FILE: str(file)},
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode not in (0, _NOTHING):
            raise Mistake(f"pytest cannot collect the benches: {_complaint(done)}")
        # Where nothing was selected, pytest may have no hook to write it in.
        line = file.read_bytes() if file.is_file() else to_line(Listing(root=""))
    found: Listing = from_line(line, Listing, "the listing")
    if not found.cases:
        raise Mistake("no case is selected; `pytest --collect-only` with the same paths and -k shows what there is")
    return found


def _selection(given: argparse.Namespace) -> list[str]:
    pairs = (("-k", given.k), ("-m", given.m))
    words = [word for option, value in pairs if value for word in (option, value)]
    words += [f"--dsbench-provider={given.provider}"] if given.provider else []
    return [*words, f"--dsbench-hw={given.hw}"] if given.hw else words


def _complaint(done: "subprocess.CompletedProcess[str]") -> str:
    """The line of pytest's output that says most: its first error, or else the last line."""
    lines = [line.strip() for line in (*done.stderr.splitlines(), *done.stdout.splitlines()) if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR:?|E  |\S+: No module named)", line)]
    return re.sub(r"^(ERROR:?|E)\s+", "", (errors or lines or ["it said nothing"])[0])
