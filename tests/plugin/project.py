"""Projects of users, run by pytest: in this process where that is enough, in one of their own where the process matters."""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from time import monotonic, sleep

import pytest
import torch  # by name only: a run in this process must not be the first to load it, for pytester unloads what a run has loaded

from pytest_dsbench import assemble, clock, fixture, operator, planning, recorder, runner, runs, session, trial
from pytest_dsbench.clock import cpu
from pytest_dsbench.measurement import Measurement
from pytest_dsbench.operators import everything
from pytest_dsbench.report import bounds, terminal

#: Loaded for the same reason.
LOADED = (torch, assemble, clock, cpu, fixture, planning, recorder, runner, runs, session, trial, bounds, terminal)

#: An operator of a user's own, rows x columns numbers doubled, and providers of it. `{more}` is where a test adds to it.
DOUBLED = '''
import torch

from pytest_dsbench import Dim, Dtype, Operator, Spec, Tolerance, Work, bench, nbytes


class Doubled(Operator):
    """Twice x."""

    rows: Dim
    columns: Dim = 8
    dtype: Dtype = "fp32"

    tolerance = {"out": Tolerance(rtol=1e-2)}
    edges = ()

    def work(self):
        size = nbytes(self.dtype, self.rows * self.columns)
        return Work(read=size, written=size, flop={"fp32": self.rows * self.columns})

    def inputs(self, new):
        return {"x": new.normal((self.rows, self.columns), self.dtype)}

    def outputs(self):
        return {"out": Spec(shape=(self.rows, self.columns), dtype=self.dtype)}

    def reference(self, x):
        return x.double() * 2


@Doubled.provider("good", devices=("cpu", "cuda"))
def good(op, x):
    return lambda: x * 2


bench_doubled = bench(Doubled)
'''
SHAPES = """
operator = "doubled"
case = [
  { rows = 16, tags = ["small"] },
  { rows = [64, 256] },
]
"""


@dataclass
class Outcome:
    """What a pytest run said."""

    code: int
    #: lines of stdout, then of stderr
    lines: list[str]
    counts: dict[str, int]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    def says(self, line: str) -> None:
        """Asserts that it said this, as a whole line, and showed nobody a traceback."""
        assert line in self.lines, f"nobody said {line!r}:\n{self.text}"
        self.plain()

    def plain(self) -> None:
        """Asserts that no traceback was shown."""
        found = [line for line in self.lines if re.match(r"Traceback|INTERNALERROR|E  |\S+\.py:\d+: (in |\w+Error)", line)]
        assert not found, f"a traceback:\n{self.text}"


class Project:
    """A folder with benches and shapes."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.path = pytester.path
        self.file("pytest.ini", "[pytest]\n")

    def file(self, name: str, text: str) -> Path:
        """Writes a file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def doubled(self, more: str = "", shapes: str = SHAPES) -> "Project":
        """The operator `doubled` with its bench and shapes; `more` goes between its provider and its bench."""
        head, tail = DOUBLED.split("\n\nbench_doubled")
        self.file("bench_doubled.py", f"{head}\n\n\n{dedent(more).strip()}\n\n\nbench_doubled{tail}")
        self.file("shapes/doubled.toml", shapes)
        return self

    def run(self, *arguments: str) -> Outcome:
        """pytest in this process."""
        kept = dict(operator._REGISTRY)
        known = {name: dict(one.providers) for name, one in everything().items()}
        try:
            # Hypothesis takes a second to say that it has nothing to say.
            return _outcome(self._pytester.runpytest_inprocess("-p", "no:hypothesispytest", *arguments))
        finally:
            operator._REGISTRY.clear()
            operator._REGISTRY.update(kept)
            for name, found in known.items():
                kept[name].providers.clear()
                kept[name].providers.update(found)

    def spawn(self, *arguments: str) -> Outcome:
        """pytest in a process of its own."""
        return _outcome(self._pytester.runpytest_subprocess("-p", "no:hypothesispytest", *arguments, timeout=180))

    def check(self, *arguments: str) -> Outcome:
        """pytest in this process, each case checked and none timed."""
        return self.run("--benchmark-disable", *arguments)

    def records(self) -> list[Measurement]:
        """The results in the one run file there is."""
        return list(self.read().measurements)

    def complete(self) -> runs.Run:
        """The one run file there is, once the guard of a process that is gone has completed it."""
        end = monotonic() + 30
        while self.read().end is None:
            assert monotonic() < end, "nobody completes the run file"
            sleep(0.05)
        return self.read()

    def read(self) -> runs.Run:
        """The one run file there is; every line of it has to be good."""
        (path,) = (self.path / "runs").glob("*.jsonl")
        run = runs.read(path)
        assert run.complaints == ()
        return run


def _outcome(result: pytest.RunResult) -> Outcome:
    try:
        counts = result.parseoutcomes()
    except ValueError:  # nothing ran, or the process ended on its own
        counts = {}
    return Outcome(int(result.ret), [line.rstrip() for line in (*result.outlines, *result.errlines)], counts)
