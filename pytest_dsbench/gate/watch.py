"""Judges each case as soon as it was timed, and has a suspect confirmed before anything else runs."""

from collections.abc import Callable
from random import Random
from typing import Protocol, cast

from ..clock import Mode
from ..measurement import Measurement, Planned
from ..options import Options
from ..runs import Header
from ..verdict import Confirmation, Verdict
from .judge import Gate, doubted
from .nights import tonight


class Confirmer(Protocol):
    """Measures a case again, in fresh processes."""

    def confirm(self, case: Planned, mode: Mode | None, by: str) -> Confirmation:
        """A duet with the old provider where there is one, else a re-run; `by` names the anchor that the baseline goes by."""

    def check(self, case: Planned, mode: Mode | None) -> Confirmation:
        """A duet of the case with itself."""


class Watch:
    """The gate in a live run."""

    def __init__(
        self, gate: Gate | None, header: Callable[[], Header], confirmer: Confirmer, options: Options, random: Random
    ) -> None:
        #: None where cases are only duelled against themselves
        self._gate = gate
        self._header = header
        self._confirmer = confirmer
        self._options = options
        self._random = random
        self._left = options.limits.confirmations

    @property
    def source(self) -> str:
        """What cases are held against."""
        return self._gate.baseline.source if self._gate else ""

    def mode(self, case: Planned) -> Mode | None:
        """How the baseline timed a case: another mode gives another time."""
        entry = self._gate.baseline.entries.get(case.identity) if self._gate else None
        return cast(Mode, entry.mode) if entry is not None and entry.mode in ("events", "graph") else None

    def see(self, measurement: Measurement) -> tuple[Verdict | None, list[Confirmation]]:
        """The verdict on a case that was just timed, and what was measured to confirm it."""
        made = []
        if measurement.status == "passed" and self._random.random() < self._options.self_check:
            made.append(self._confirmer.check(measurement.case, cast(Mode, measurement.mode)))
        if self._gate is None:
            return None, made
        (found,) = tonight([measurement], self._header())
        verdict = self._gate.judge(found)
        if not self._suspected(verdict) or self._left <= 0:
            return verdict, made
        self._left -= 1
        case = measurement.case
        by = self._gate.baseline.entries[case.identity].by
        confirmation = self._confirmer.confirm(case, self.mode(case), by)
        return self._gate.judge(found, confirmation), [*made, confirmation]

    def fails(self, verdict: Verdict) -> bool:
        """Whether the test must fail; not where the user accepts the slowdown with a reason."""
        return verdict.outcome == "invalid" or (verdict.outcome == "regressed" and not self._options.lowering)

    def _suspected(self, verdict: Verdict) -> bool:
        """Slowdowns are confirmed, also those that crept; improvements where they would raise the bar."""
        slower = (verdict.change or 0.0) > 0 or verdict.crept is not None
        given = self._options
        return (slower or given.save is not None) and doubted(verdict, given.limits, given.old is not None)
