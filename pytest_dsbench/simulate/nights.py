"""Nights of noise through the gate, with and without an old provider, and through the simple rules, all on the same samples.

Slowdowns are drawn afresh each night and are there on that night alone. Nothing of them enters a history: they ask what a gate
would have said. To the gate that waits for a second night, the same slowdown is shown on the next night too.
"""

from collections.abc import Mapping, Sequence
from math import log1p
from typing import NamedTuple

import numpy as np

from ..duet.decide import decide, fought, limits_of
from ..gate.baseline import Night as Accepted
from ..gate.judgement import Judgement
from ..gate.nights import Tonight, tonight
from ..thresholds import Thresholds
from ..verdict import Confirmation, Verdict
from . import records
from .keeper import Confirm, Keeper
from .noise import Cases, Floats, Model, Night, Rng, cases, deltas, launched, night
from .peers import RULES, Past
from .tally import SIZES, Tally

#: Share of the cases that are slowed down each night.
_SLOWED = 0.02
#: What random numbers are drawn for: each has a stream of its own, so that no gate disturbs another.
_SUITE, _NIGHT, _DRAW, _RECORDS, _CONFIRM = range(5)


class Outcome(NamedTuple):
    """What every gate was worth, over how many decisions, and how many pairs of processes the duets of a night took."""

    tallies: list[Tally]
    decisions: int
    pairs: float


class Laboratory:
    """A suite, its noise, and the streams of random numbers."""

    def __init__(self, count: int, seed: int, model: Model, limits: Thresholds) -> None:
        self.model, self.limits, self._seed = model, limits, seed
        self.suite: Cases = cases(model, count, self.rng(_SUITE))
        self.plan = records.planned(count)
        self.number = {one.identity: case for case, one in enumerate(self.plan)}
        self._duet = limits_of(limits)
        #: pairs of processes that all duets took
        self.pairs = 0

    def rng(self, *stream: int) -> Rng:
        """The random numbers of one purpose."""
        return np.random.default_rng([self._seed, *stream])

    def night(self, number: int) -> Night:
        """The noise of a night."""
        return night(self.model, self.suite, self.rng(_NIGHT, number))

    def slowed(self, number: int) -> dict[int, float]:
        """The cases that are slowed down on a night, some by each size."""
        count = len(self.plan)
        chosen = self.rng(_DRAW, number).permutation(count)[: max(len(SIZES), round(_SLOWED * count))]
        return {int(case): SIZES[place % len(SIZES)] for place, case in enumerate(chosen)}

    def run(self, number: int, told: Night, slowdown: Floats) -> list[Tonight]:
        """The night as the gate sees it."""
        rng = self.rng(_RECORDS, number)
        found = records.measurements(self.model, self.suite, self.plan, told, slowdown, rng)
        return tonight(found, records.header(number))

    def duet(self, number: int, slowdown: Floats) -> Confirm:
        """Old and new side by side."""

        def confirm(found: Tonight) -> Confirmation:
            case = self.number[found.case.identity]
            rng = self.rng(_CONFIRM, number, case, 0)
            measured = tuple(deltas(self.model, self.suite, case, float(slowdown[case]), self.limits.pairs, rng).tolist())
            measured = fought(measured, self._duet)
            self.pairs += len(measured)
            said = decide(measured, limits=self._duet)
            return Confirmation(
                case=found.case,
                how="duet",
                deltas=measured,
                change=said.change,
                low=said.low,
                high=said.high,
                outcome=said.outcome,
            )

        return confirm

    def rerun(self, number: int, told: Night, slowdown: Mapping[int, float] | Floats) -> Confirm:
        """Fresh processes of the new provider alone."""

        def confirm(found: Tonight) -> Confirmation:
            case = self.number[found.case.identity]
            rng = self.rng(_CONFIRM, number, case, 1)
            level = told.level + slowdown[case]
            samples = launched(self.model, self.suite, level, np.array([case]), self.limits.reruns, rng)[0]
            levels = records.levels(self.model, samples, told.machine, bool(self.suite.memory[case]), rng)
            return Confirmation(case=found.case, how="rerun", levels=levels)

        return confirm


def simulate(nights: int, count: int, seed: int, model: Model = Model(), limits: Thresholds = Thresholds()) -> Outcome:  # noqa: B008
    """What each gate does on `nights` nights of `count` cases, after as many nights of history as a window holds."""
    laboratory = Laboratory(count, seed, model, limits)
    tallies = {name: Tally(name) for name in RULES}
    alone, duet = Tally("this gate, no old provider"), Tally("this gate, screen + duet")
    keepers, past, waiting = (
        (Keeper(limits), Keeper(limits, duelling=True)),
        Past(limits.history),
        dict[int, tuple[float, Accepted]](),
    )
    for number in range(limits.history + nights):
        told, counts = laboratory.night(number), number >= limits.history
        slow = laboratory.slowed(number) if counts else {}
        slowdown = np.zeros(count)
        slowdown[list(slow)] = np.log1p(list(slow.values()))
        found = laboratory.run(number, told, slowdown)
        confirms = laboratory.rerun(number, told, slowdown), laboratory.duet(number, slowdown)
        judged = [keeper.judge(found, confirm) for keeper, confirm in zip(keepers, confirms, strict=True)]
        if counts:
            samples = told.samples * np.exp(slowdown)[:, None, None]
            for name, rule in RULES.items():
                tallies[name].night(set(np.flatnonzero(rule(samples, past)).tolist()), slow)
            for tally, keeper, one in zip((alone, duet), keepers, judged, strict=True):
                _count(tally, keeper, one, laboratory.number, slow)
            _second(alone, keepers[0], laboratory, number, told, found, slow, waiting)
            waiting = _waits(found, judged[0], slow)
        past.add(told.samples)
        for keeper, one in zip(keepers, judged, strict=True):
            keeper.accept(found, _by_name(one), {found[case].case.identity for case in slow})
    return Outcome([*tallies.values(), alone, duet], nights * count, laboratory.pairs / (limits.history + nights))


def _by_name(judged: Judgement) -> dict[str, Verdict]:
    return {one.case.identity: one for one in judged.verdicts}


def _count(tally: Tally, keeper: Keeper, judged: Judgement, numbers: Mapping[str, int], slow: Mapping[int, float]) -> None:
    alarms = {numbers[one.case.identity] for one in judged.verdicts if one.alarm}
    tally.night(alarms, slow, int(judged.joint_alarm))
    tally.doubts.append(keeper.doubts)
    tally.slow_doubts.append(keeper.slow_doubts)
    tally.unfit += judged.count("environment") > 0


def _waits(found: Sequence[Tonight], judged: Judgement, slow: Mapping[int, float]) -> dict[int, tuple[float, Accepted]]:
    """The slowed cases that are suspects, with their sizes and tonight's measurement."""
    verdicts = _by_name(judged)
    return {
        case: (size, accepted)
        for case, size in slow.items()
        if verdicts[found[case].case.identity].outcome == "suspect" and (accepted := found[case].night) is not None
    }


def _second(
    tally: Tally,
    keeper: Keeper,
    laboratory: Laboratory,
    number: int,
    told: Night,
    found: Sequence[Tonight],
    slow: Mapping[int, float],
    waiting: Mapping[int, tuple[float, Accepted]],
) -> None:
    """Shows the suspects of the night before once more, as slow as they were then."""
    for case, (size, before) in waiting.items():
        accepted = found[case].night
        assert accepted is not None
        factor = (1 + size) / (1 + slow.get(case, 0.0))
        repeated = found[case].replace(night=accepted.replace(passes=tuple(factor * one for one in accepted.passes)))
        confirm = laboratory.rerun(number, told, {case: log1p(size)})
        tally.later[size] += keeper.again(repeated, before, confirm).outcome == "regressed"
