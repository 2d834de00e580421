"""The conductor: fresh pairs of processes, all cases in each, and the verdict over the pairs."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Literal

from ..measurement import Measurement, Planned
from ..mistake import Mistake
from ..record import Record
from ..units import show_share
from .bout import Bout, Ended, Settings, bout
from .decide import Limits, decide, settled
from .orders import Measure, Refused
from .process import Lost, Side, Worker, pair

__all__ = ["Duel", "Half", "Settings", "Side", "duet", "remeasure"]

#: A case that cost so many pairs of processes is given up.
_PATIENCE = 2

#: Pairs that were disturbed and are this far apart (a scale in ln T) say nothing: threads that wait for each other take any time.
_APART = 0.05

Outcome = Literal["regressed", "improved", "same", "noisy_host", "invalid", "crashed", "timed_out", "refused"]


class Half(Record):
    """One side of a result: seconds of a call, the median over all slices, and the packages it ran."""

    seconds: float
    packages: dict[str, str]


class Duel(Record, tag_field="kind", tag="duel"):
    """The result of one case. Changes are ln(T new / T old)."""

    v: int = 1
    case: Planned
    outcome: Outcome
    #: one sentence where there is nothing to compare
    reason: str | None = None
    notes: tuple[str, ...] = ()
    #: one for each pair of processes; their median with its 95 % interval, and the scale of one that this was decided with
    deltas: tuple[float, ...] = ()
    change: float | None = None
    low: float | None = None
    high: float | None = None
    scale: float | None = None
    old: Half | None = None
    new: Half | None = None
    mode: str | None = None

    @property
    def pairs(self) -> int:
        """Pairs of processes it was compared in."""
        return len(self.deltas)


@dataclass(eq=False)
class _Tally:
    """What is known of one case so far."""

    case: Planned
    limits: Limits
    bouts: list[Bout] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    ended: Ended | None = None

    @property
    def over(self) -> bool:
        enough = settled([one.delta for one in self.bouts], self.limits)
        return self.ended is not None or len(self.lost) >= _PATIENCE or enough

    def duel(self, settings: Settings) -> Duel:
        """The result."""
        if self.ended is not None:
            return Duel(case=self.case, outcome=self.ended.outcome, reason=str(self.ended))
        if len(self.lost) >= _PATIENCE or not self.bouts:
            return Duel(case=self.case, outcome=self.lost[-1].outcome, reason=str(self.lost[-1]))
        deltas = tuple(one.delta for one in self.bouts)
        change, low, high, said, scale = decide(deltas, limits=settings.limits)
        last, causes = self.bouts[-1], self._disturbances()
        lost = causes is not None and scale > _APART
        return Duel(
            case=self.case,
            outcome="noisy_host" if lost else said,
            reason=f"pairs were disturbed ({causes}) and differ by {show_share(math.expm1(scale))} (sd)" if lost else None,
            notes=self._notes(),
            deltas=deltas,
            change=change,
            low=low,
            high=high,
            scale=scale,
            old=Half(seconds=median(time for one in self.bouts for time in one.old), packages=last.old_packages),
            new=Half(seconds=median(time for one in self.bouts for time in one.new), packages=last.new_packages),
            mode=last.mode,
        )

    def _disturbances(self) -> str | None:
        """What disturbed more than half of the pairs, if so."""
        causes = [one.disturbed for one in self.bouts if one.disturbed]
        return ", ".join(sorted(set(causes))) if 2 * len(causes) > len(self.bouts) else None

    def _notes(self) -> tuple[str, ...]:
        said = dict.fromkeys(note for one in self.bouts for note in one.notes)
        modes = sorted({one.mode for one in self.bouts})
        mixed = [f"timed by {' and by '.join(modes)} in different pairs"] if len(modes) > 1 else []
        causes = self._disturbances()
        busy = [f"more than half of the slices were disturbed: {causes}"] if causes else []
        return (*said, *busy, *mixed, *(f"one pair is missing: {lost}" for lost in self.lost))


def duet(
    old: Side, new: Side, cases: Sequence[Planned], settings: Settings, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Duel]:
    """Compares every case in `settings.pairs` fresh pairs of processes; each Duel comes as soon as it is certain.

    A worker that hangs or dies costs its case that pair alone; after the second time the case is given up. Raises Mistake where
    the two sides cannot be started at all. The caller holds the lock of the device.
    """
    tallies = [_Tally(case, settings.limits) for case in cases]
    for number in range(1, settings.pairs + 1):
        waiting = deque(one for one in tallies if not one.over)
        say = partial(_say, progress, f"pair {number} of {settings.pairs}")
        while waiting:
            try:
                for tally in _fought(old, new, waiting, settings, say):
                    if tally.over:
                        yield tally.duel(settings)
            except _Unstarted as error:
                if number == 1:
                    raise Mistake(f"{error} before it measured anything") from None
                say(f"{error} before it measured anything")
                waiting.clear()
    for tally in tallies:
        if not tally.over:
            yield tally.duel(settings)


def _say(progress: Callable[[str], None], where: str, what: str) -> None:
    progress(f"{where}: {what}")


class _Unstarted(Exception):
    """A worker was lost before it was given a case."""


def _fought(
    old: Side, new: Side, waiting: deque[_Tally], settings: Settings, progress: Callable[[str], None]
) -> Iterator[_Tally]:
    """One pair of processes, with the cases that wait until none does or one of the two is lost."""
    first = waiting[0]
    try:
        with pair(old, new, settings.setup, settings.prepare) as both:
            while waiting:
                first = waiting.popleft()
                progress(first.case.name)
                try:
                    first.bouts.append(bout(both, first.case, settings))
                except Ended as ended:
                    first.ended = ended
                yield first
    except Lost as lost:
        if first in waiting:
            raise _Unstarted(str(lost)) from None
        first.lost.append(lost)
        yield first


def remeasure(side: Side, case: Planned, settings: Settings) -> Measurement:
    """One whole measurement in a fresh process. Raises Lost where that hangs or dies, Mistake where it does not have the case."""
    with Worker(side, settings.setup) as worker:
        worker.hello(settings.prepare)
        answer = worker.ask(Measure(case=case), settings.prepare)
    if isinstance(answer, Refused):
        raise Mistake(f"{side.label}: {answer.reason}")
    if not isinstance(answer, Measurement):
        raise Lost("crashed", f"{side.label} gave an answer that was not asked for")
    return answer
