"""Measures a suspect again in fresh processes: beside the old provider where there is one, else alone."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from math import log
from pathlib import Path
from random import Random

from ..clock import Mode
from ..duet.conduct import Settings, Side, duet, remeasure
from ..duet.decide import limits_of
from ..duet.interpreter import interpreter
from ..duet.orders import Setup
from ..duet.process import Lost
from ..duet.worktree import worktree
from ..measurement import Planned
from ..mistake import Mistake
from ..options import Options
from ..rig import Rig
from ..runs import Header
from ..verdict import Confirmation, How
from . import finish
from .judge import Gate
from .watch import Watch


class Again:
    """Fresh processes for one run. The device is held by the process that asks; `release` gives its memory back for a while."""

    def __init__(self, options: Options, resources: ExitStack, release: Callable[[], None] = lambda: None) -> None:
        self._options = options
        self._release = release
        self._new = Side(python=Path(sys.executable), root=options.root, label="new")
        self._old = old_side(options, self._new, resources) if options.old else None

    def confirm(self, case: Planned, mode: Mode | None, by: str) -> Confirmation:
        """A duet with the old provider where there is one, else a re-run; `by` names the anchor that the baseline goes by."""
        self._release()
        return self._duel(self._old, case, mode, "duet") if self._old else self._rerun(case, mode, by)

    def check(self, case: Planned, mode: Mode | None) -> Confirmation:
        """A duet of the case with itself: whatever it finds is false."""
        self._release()
        return self._duel(self._new, case, mode, "self")

    def _settings(self, mode: Mode | None) -> Settings:
        given = self._options
        setup = Setup(hw=given.hw, clock=mode if mode in ("events", "graph") else given.clock, cold=given.cold)
        return Settings(pairs=given.limits.pairs, setup=setup, limits=limits_of(given.limits))

    def _duel(self, old: Side, case: Planned, mode: Mode | None, how: How) -> Confirmation:
        try:
            (found,) = duet(old, self._new, [case], self._settings(mode))
        except Mistake as error:
            return Confirmation(case=case, how=how, outcome="refused", reason=str(error))
        said = "; ".join(part for part in (found.reason, *found.notes) if part)
        return Confirmation(
            case=case,
            how=how,
            deltas=found.deltas,
            change=found.change,
            low=found.low,
            high=found.high,
            outcome=found.outcome,
            reason=said or None,
        )

    def _rerun(self, case: Planned, mode: Mode | None, by: str) -> Confirmation:
        """Some undisturbed measurements, each in a fresh process; twice as many tries."""
        wanted, levels, disturbed = self._options.limits.reruns, list[float](), None
        for _ in range(2 * wanted):
            try:
                found = remeasure(self._new, case, self._settings(mode))
            except (Lost, Mistake) as error:
                return Confirmation(case=case, how="rerun", reason=str(error))
            if found.status in ("noisy_host", "throttled"):
                disturbed = found
            elif found.status != "passed" or found.time is None or found.anchors is None:
                return Confirmation(case=case, how="rerun", reason=f"measured again it was {found.status}: {found.reason}")
            else:
                levels.append(log(found.time.median) - log(found.anchors.of(by)))
            if len(levels) == wanted:
                return Confirmation(case=case, how="rerun", levels=tuple(levels))
        assert disturbed is not None
        return Confirmation(case=case, how="rerun", outcome=disturbed.status, reason=f"measured again: {disturbed.reason}")


def old_side(options: Options, new: Side, resources: ExitStack) -> Side:
    """The old side: another interpreter, or the kernels of a git revision. Raises Mistake where it is neither."""
    word = options.old or ""
    option = f"--dsbench-old={word}"
    if word.startswith(("/", "./", "../")) or ("/" in word and Path(word).exists()):
        return Side(python=interpreter(word, "--dsbench-old"), root=options.root, label=f"old ({word})")
    try:
        root = resources.enter_context(worktree(options.root, word, "--dsbench-old"))
    except Mistake as error:
        raise Mistake(f"{error}; {option} names an interpreter by its path, or a git revision") from None
    return Side(python=new.python, root=root, label=f"old ({word})")


def watch(options: Options, rig: Rig, header: Callable[[], Header], resources: ExitStack) -> Watch:
    """The gate of a live run. Raises Mistake for a baseline, an interpreter or a revision that is not there."""
    gate = Gate(finish.reference(options, rig.hardware.name), options.limits, rig.environment) if options.gated else None
    return Watch(gate, header, Again(options, resources, rig.release), options, Random())
