"""Thresholds of the gate, with the defaults of the simulation in docs/gate.md. Lines of one ini value change them."""

from collections.abc import Iterable
from math import log1p
from typing import Any

import msgspec

from .mistake import Mistake, unknown
from .record import Record

_INI = "dsbench_gate"

#: What each threshold is. Shares are written as such: 0.015 is 1.5 %.
MEANING: dict[str, str] = {
    "history": "accepted nights in the window of a case",
    "learn": "accepted nights before a case is judged",
    "significance": "p below which one case alone is looked into, if it moved by min_change",
    "min_change": "change below which no case alone is looked into",
    "discovery": "q of Benjamini-Hochberg over all cases of a run",
    "floor": "least night-to-night scale of a case",
    "prior": "scale of a night where one run is held against another and too few cases tell it",
    "unlearned": "scale of a case that is still learning: only gross slowdowns are seen then",
    "pseudo": "pseudo-observations of the pooled scale of similar cases",
    "strict_t": "t of a change that needs no old provider to be believed, when it repeats in fresh processes",
    "strict_change": "and the least size of such a change; where there is an old provider, a larger one is always looked into",
    "joint": "share of a provider's cases that move together to make one alarm",
    "unstable": "minimum detectable effect above which a case is called unstable",
    "anchor": "change of an anchor that makes the environment unfit to judge",
    "creep_k": "slack of the CUSUM against the golden entry",
    "creep_h": "its alarm",
    "reruns": "fresh processes that measure a suspect again where there is no old provider",
    "confirmations": "most suspects that one run confirms",
    "pairs": "fresh pairs of processes of a duet",
    "settled": "median change of a confirming duet's first three pairs below which it is not fought to its end",
    "duet_change": "median change of a duet's pairs above which it may be a regression",
    "duet_bound": "and what the lower end of its interval must exceed",
}


class Thresholds(Record):
    """The numbers the gate decides by."""

    history: int = 15
    learn: int = 5
    significance: float = 0.05
    min_change: float = 0.015
    discovery: float = 0.10
    floor: float = 0.0025
    prior: float = 0.02
    unlearned: float = 0.05
    pseudo: int = 4
    strict_t: float = 4.5
    strict_change: float = 0.03
    joint: float = 0.20
    unstable: float = 0.05
    anchor: float = 0.05
    creep_k: float = 0.5
    creep_h: float = 8.0
    reruns: int = 3
    confirmations: int = 100
    pairs: int = 9
    settled: float = 0.01
    duet_change: float = 0.018
    duet_bound: float = 0.015

    @property
    def least(self) -> float:
        """`min_change` as a difference of logarithms."""
        return log1p(self.min_change)


#: Those that count something need at least this many.
_LEAST = {"history": 2, "learn": 2, "reruns": 1, "pairs": 2, "confirmations": 0, "pseudo": 0}
#: Those that are no shares; a share of 1 or more was meant in per cent.
_NO_SHARE = ("strict_t", "creep_k", "creep_h")


def thresholds(lines: Iterable[str]) -> Thresholds:
    """The thresholds of the ini value `dsbench_gate`, lines such as "min_change = 0.02". Raises Mistake."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(Thresholds)}
    values: dict[str, Any] = {}
    for line in lines:
        name, equals, text = (part.strip() for part in line.partition("="))
        if name not in kinds:
            raise Mistake(f"{_INI}: {unknown('threshold', name, kinds)}")
        if not equals:
            raise Mistake(f"{_INI}: {line!r}; expected name = value, such as min_change = 0.02")
        values[name] = _number(name, kinds[name], text)
    found = Thresholds(**values)
    if found.history < found.learn:
        raise Mistake(f"{_INI}: history = {found.history} nights are fewer than learn = {found.learn}")
    return found


def _number(name: str, kind: Any, text: str) -> float:
    least, most = _LEAST.get(name), float("inf") if name in _NO_SHARE else 1.0
    if least is not None:
        expected = f"a whole number of at least {least}"
    else:
        expected = "a number above 0" if name in _NO_SHARE else "a share between 0 and 1, such as 0.015 for 1.5 %"
    try:
        value: float = kind(text)
    except ValueError:
        raise Mistake(f"{_INI}: {name} = {text}; expected {expected}") from None
    if (value < least) if least is not None else not (0 < value < most):
        raise Mistake(f"{_INI}: {name} = {text}; expected {expected}")
    return value
