"""Creep: cases that get slower by a little each night, and after how many nights the gate says so.

The old provider of the duet is the version of the golden entry: it measures everything that has crept.
"""

from math import log1p
from typing import NamedTuple

import numpy as np

from ..thresholds import Thresholds
from .keeper import Keeper
from .nights import Laboratory
from .noise import Model

#: Slowdown of a night, and share of the cases that creep.
STEP = 0.002
_SHARE = 0.01
#: Nights after which one gives up.
NIGHTS = 40


class Crept(NamedTuple):
    """Nights until each creeping case was found, None where it was not, and the false alarms meanwhile."""

    found: list[int | None]
    false: int
    #: suspicions per night
    suspicions: float


def creep(count: int, seed: int, model: Model = Model(), limits: Thresholds = Thresholds()) -> Crept:  # noqa: B008
    """How long creep goes unnoticed."""
    laboratory = Laboratory(count, seed, model, limits)
    creeping = laboratory.slowed(0)
    cases = list(creeping)[: max(1, round(_SHARE * count))]
    found: dict[int, int] = {}
    keeper, alarms, doubts = Keeper(limits), 0, 0
    for number in range(limits.history + NIGHTS):
        nights = number - limits.history + 1
        slowdown = np.zeros(count)
        slowdown[cases] = max(0, nights) * log1p(STEP)
        told = laboratory.night(number)
        seen = laboratory.run(number, told, slowdown)
        judged = keeper.judge(seen, laboratory.duet(number, slowdown))
        if nights > 0:
            slower = {laboratory.number[one.case.identity] for one in judged.verdicts if one.outcome == "regressed"}
            alarms += len(slower - set(cases))
            doubts += keeper.doubts
            for case in slower & set(cases):
                found.setdefault(case, nights)
        keeper.accept(seen, {one.case.identity: one for one in judged.verdicts})
    return Crept([found.get(case) for case in cases], alarms, doubts / NIGHTS)
