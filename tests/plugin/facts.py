"""A project whose times are facts of the test: the clock, the anchors and fresh processes are given, all else is real."""

import json
import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import log
from pathlib import Path
from typing import Any

import pytest
from project import Outcome, Project

from pytest_dsbench import git, rig, runs
from pytest_dsbench.anchors import Anchors
from pytest_dsbench.clock import Samples, cpu
from pytest_dsbench.duet import conduct
from pytest_dsbench.gate import confirming, finish, sources, watch
from pytest_dsbench.measurement import Planned
from pytest_dsbench.report import gate, summary
from pytest_dsbench.verdict import Confirmation

#: Loaded here, for pytester unloads what a run has loaded.
LOADED = (conduct, finish, git, sources, watch, gate, summary)
#: What a case takes in each of the nights that make a baseline, as a share of its usual time.
NIGHTS = (1.0, 1.004, 0.997, 1.002, 0.996, 1.001)
BASELINE = Path("baselines/cpu/doubled.jsonl")
#: Baselines that were made, by what they are of: six nights take a while.
_MADE: dict[str, dict[str, bytes]] = {}
#: What makes a process of its own, such as a worker of pytest-xdist, live by the same facts.
CONFTEST = """
import sys

sys.path.insert(0, {here!r})

import pytest
from facts import Facts

Facts(takes={takes!r}, night=100).hold(pytest.MonkeyPatch())
"""


class Facts:
    """What cases take, by names such as "rows64-good"."""

    def __init__(self, takes: dict[str, float] | None = None, night: int = 0) -> None:
        #: what a case takes tonight, and in fresh processes, as a share of its usual time
        self.takes = takes or {}
        self.again: dict[str, float] = {}
        #: what all of them take, and the anchors
        self.all = 1.0
        self.anchors = 1.0
        #: cases that the host disturbs
        self.noisy: set[str] = set()
        #: what a duet finds: an outcome and ln(new / old); None where there is no old provider
        self.duet: tuple[str, float] | None = None
        #: what a case finds against itself
        self.itself = 0.0
        #: cases that were confirmed
        self.confirmed: list[str] = []
        #: nights so far
        self.night = night

    def hold(self, patch: pytest.MonkeyPatch) -> None:
        """Puts the facts in the place of what would have to be measured."""
        patch.setattr(cpu.CpuClock, "time", lambda _, plan: self._time(plan))
        patch.setattr(rig, "measure_anchors", lambda device, cache: self._anchors())
        patch.setattr(confirming.Again, "confirm", lambda _, case, mode, by: self._confirm(case))
        patch.setattr(confirming.Again, "check", lambda _, case, mode: self._check(case))
        patch.setattr(runs, "timestamp", self._timestamp)

    def _timestamp(self) -> str:
        # Each run is a night of its own.
        self.night += 1
        return (datetime(2026, 11, 1, 3) + timedelta(days=self.night)).isoformat()

    def _time(self, plan: Any) -> Samples:
        rows = getattr(plan.subject, "rows", 100)
        name = f"rows{rows}-{plan.provider.name}"
        seconds = _usual(rows) * self.all * self.takes.get(name, 1.0)
        spread = [seconds * (1 + 0.0005 * step) for step in (-2, -1, 0, 1, 2) for _ in range(4)]
        noisy = {"stopped_by": "noisy host", "discarded": {"off core": 20}} if name in self.noisy else {"stopped_by": "precise"}
        return Samples(mode="cpu", seconds=spread, batches=len(spread), **noisy)

    def _anchors(self) -> Anchors:
        took = 1e-3 * self.anchors
        return Anchors(copy_seconds=took, compute_seconds=took, launch_seconds=1e-9, compute_kind="torch matmul")

    def _confirm(self, case: Planned) -> Confirmation:
        name = f"{case.label}-{case.provider}"
        self.confirmed.append(name)
        if self.duet is not None:
            outcome, change = self.duet
            ends = {"low": change - 0.004, "high": change + 0.004}
            return Confirmation(case=case, how="duet", outcome=outcome, deltas=(change,) * 9, change=change, **ends)
        took = _usual(case.dims["rows"]) * self.again.get(name, self.takes.get(name, 1.0))
        return Confirmation(case=case, how="rerun", levels=(log(took) - log(self._anchors().copy_seconds),) * 3)

    def _check(self, case: Planned) -> Confirmation:
        outcome = "same" if abs(self.itself) < 0.018 else "regressed"
        return Confirmation(case=case, how="self", outcome=outcome, change=self.itself, low=self.itself, high=self.itself)


def _usual(rows: int) -> float:
    return 1e-5 * rows


class Gated:
    """The project with the operator `doubled`, run by these facts."""

    def __init__(self, project: Project, patch: pytest.MonkeyPatch) -> None:
        self.project = project
        self.path = project.path
        self.facts = Facts()
        self.facts.hold(patch)

    def baseline(self, *arguments: str) -> "Gated":
        """Six nights as usual, saved."""
        key = "\n".join([*(path.read_text() for path in sorted(self.path.rglob("*.[pti]*"))), *arguments])
        folder = (self.path / BASELINE).parent
        if key not in _MADE:
            for self.facts.all in NIGHTS:
                assert self.run("--dsbench-save", *arguments).code == 0
            _MADE[key] = {file.name: file.read_bytes() for file in folder.iterdir()}
            self.facts.all = 1.0
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _MADE[key].items():
            (folder / name).write_bytes(text)
        self.facts.night = len(NIGHTS)
        return self

    def run(self, *arguments: str) -> Outcome:
        """A run in this process that shows nobody a traceback; the one run file is that of this run."""
        self.clear()
        found = self.project.run("--benchmark-quiet", *arguments)
        found.plain()
        return found

    def clear(self) -> None:
        """Forgets the runs so far."""
        shutil.rmtree(self.path / "runs", ignore_errors=True)

    def compare(self, *arguments: str) -> Outcome:
        """A run held against the stored baseline."""
        return self.run("--dsbench-compare", *arguments)

    def verdicts(self) -> dict[str, str]:
        """The outcomes in the run file, by "rows64-good"."""
        return {f"{one.case.label}-{one.case.provider}": one.outcome for one in self.project.read().verdicts}

    def stored(self, rows: int) -> dict[str, Any]:
        """The stored entry of one case of provider `good`."""
        lines = [json.loads(line) for line in (self.path / BASELINE).read_text().splitlines()]
        (found,) = [one for one in lines if one["kind"] == "entry" and (one["dims"]["rows"], one["provider"]) == (rows, "good")]
        return found

    def conftest(self, **takes: float) -> None:
        """The same facts for processes of their own."""
        named = {f"{name}-good": share for name, share in takes.items()}
        self.project.file("conftest.py", CONFTEST.format(here=str(Path(__file__).parent), takes=named))


def every(outcome: str, labels: Iterable[str] = ("rows16", "rows64", "rows256")) -> dict[str, str]:
    """All cases came out so."""
    return {f"{label}-good": outcome for label in labels}
