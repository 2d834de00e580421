"""One case between one pair of living processes: prepared in both, timed in turns, the same in what it computes."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

from ..clock import Mode
from ..measurement import Planned
from ..record import Record
from .decide import LIMITS, Limits
from .orders import Answer, Done, Finished, Next, Prepare, Ready, Refused, Setup, Slice
from .process import Worker


class Settings(Record):
    """How a duet is fought. Times in seconds."""

    #: fresh pairs of processes
    pairs: int = 9
    #: adjacent slices, one of each side, in each pair of processes
    couples: int = 16
    #: device, clock and cache, the same on both sides
    setup: Setup = Setup()
    limits: Limits = LIMITS
    #: deadlines: for starting or preparing, and for one slice
    prepare: float = 120.0
    slice: float = 30.0


class Ended(Exception):
    """There is nothing to compare, whichever processes try; `str()` of it is one sentence."""

    def __init__(self, outcome: Literal["invalid", "refused"], reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Bout(Record):
    """What one pair of processes said of one case."""

    #: ln(T new / T old), the median over adjacent slices
    delta: float
    mode: str
    #: seconds per call, a slice each
    old: tuple[float, ...]
    new: tuple[float, ...]
    old_packages: dict[str, str]
    new_packages: dict[str, str]
    #: what disturbed more than half of the slices, if so
    disturbed: str | None = None
    notes: tuple[str, ...] = ()


_Both = tuple[Worker, Worker]


def bout(both: _Both, case: Planned, settings: Settings) -> Bout:
    """Times one case, old and new in turns. Raises Ended, and Lost where a worker hangs or dies."""
    one, other = _ready(both, case, None, settings)
    if one.mode != other.mode:
        # A graph's time and an operator's are not the same thing; both can be had by events.
        _finish(both, settings)
        one, other = _ready(both, case, "events", settings)
    if one.inputs != other.inputs:
        _finish(both, settings)
        raise Ended("refused", _unlike(both, case))
    couples, discards = _couples(both, settings)
    _finish(both, settings)
    delta, disturbed = _delta(couples, discards)
    return Bout(
        delta=delta,
        mode=one.mode,
        old=tuple(old for old, _ in couples),
        new=tuple(new for _, new in couples),
        old_packages=one.packages,
        new_packages=other.packages,
        disturbed=disturbed,
        notes=tuple(_apart(one.outputs, other.outputs)),
    )


def _ready(both: _Both, case: Planned, mode: Mode | None, settings: Settings) -> tuple[Ready, Ready]:
    """Both sides prepared, at the same time: nothing is timed yet."""
    for worker in both:
        worker.send(Prepare(case=case, mode=mode))
    answers = [worker.answer(settings.prepare) for worker in both]
    match answers:
        case [Ready() as one, Ready() as other]:
            return one, other
    last = [
        worker.ask(Done(), settings.prepare) if isinstance(answer, Ready) else answer
        for worker, answer in zip(both, answers, strict=True)
    ]
    raise _end(both, last)


def _couples(both: _Both, settings: Settings) -> tuple[list[tuple[float, float]], list[str | None]]:
    """Adjacent slices in the order old new new old, so that a steady drift of the device is nobody's; and what disturbed each."""
    couples, discards = [], []
    for number in range(settings.couples):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        found: dict[int, Slice] = {side: _slice(both, side, settings) for side in order}
        couples.append((found[0].seconds, found[1].seconds))
        discards.append(found[0].discard or found[1].discard)
    return couples, discards


def _slice(both: _Both, side: int, settings: Settings) -> Slice:
    answer = both[side].ask(Next(), settings.slice)
    if isinstance(answer, Slice):
        return answer
    rest = both[1 - side].ask(Done(), settings.prepare)
    raise _end(both, [answer, rest] if side == 0 else [rest, answer])


def _finish(both: _Both, settings: Settings) -> None:
    """Ends a case that both sides are timing. Raises Ended where one of them was wrong after all."""
    for worker in both:
        worker.send(Done())
    last = [worker.answer(settings.prepare) for worker in both]
    if any(not isinstance(answer, Finished) or answer.status in _UNFIT for answer in last):
        raise _end(both, last)


#: What a case that was timed in slices must not have ended as. Disturbed slices are dropped by the duet itself.
_UNFIT = ("failed", "invalid", "skipped", "checked")


def _end(both: _Both, last: Sequence[Answer]) -> Ended:
    """Why there is nothing to compare: a side that is wrong comes before one that does not have the case."""
    labels = [worker.side.label for worker in both]
    named = list(zip(labels, last, strict=True))
    wrong = [(label, one.reason) for label, one in named if isinstance(one, Finished) and one.status in ("failed", "invalid")]
    if len(wrong) == 2:
        return Ended("invalid", f"old and new are both wrong; {wrong[1][0]}: {wrong[1][1]}")
    if wrong:
        return Ended("invalid", f"old and new disagree: {wrong[0][0]} is wrong: {wrong[0][1]}")
    idle = [(label, one) for label, one in named if isinstance(one, (Finished, Refused))]
    unfit = [(label, one) for label, one in idle if isinstance(one, Refused) or one.status in _UNFIT]
    label, why = unfit[0] if unfit else (labels[0], Refused(reason="gave an answer that was not asked for"))
    return Ended("refused", f"{label}: {why.reason or 'it is checked there, and not timed'}")


def _delta(couples: Sequence[tuple[float, float]], discards: Sequence[str | None]) -> tuple[float, str | None]:
    """The median of ln(new / old) over undisturbed couples; over all, with the causes, where more than half were disturbed."""
    logs = [math.log(new / old) for old, new in couples]
    clean = [log for log, discard in zip(logs, discards, strict=True) if discard is None]
    if 2 * len(clean) >= len(logs):
        return median(clean), None
    causes = ", ".join(sorted({discard for discard in discards if discard}))
    return median(logs), causes


def _unlike(both: _Both, case: Planned) -> str:
    one, other = (worker.torch for worker in both)
    drawn = f", or torch {one} and {other} draw different numbers" if one != other else ""
    return f"old and new were given different inputs: the definition of {case.operator} changed between them{drawn}"


def _apart(old: dict[str, str], new: dict[str, str]) -> list[str]:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"both are right, and differ in the bits of {', '.join(names)}"] if names else []
