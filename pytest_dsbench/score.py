"""The score: per operator the median efficiency, and their mean weighted by what each operator is worth in production.

An efficiency that measures launches says nothing about a kernel; such cases count as published, and are shown apart.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from .measurement import Measurement
from .mistake import Mistake, unknown
from .record import Record


class Entry(Record):
    """One case that may enter a score."""

    operator: str
    provider: str
    #: importance of the operator in production, as published
    importance: float
    #: T_SOL / T
    efficiency: float
    #: a row of the published list; a recovered one has the true size of such a row
    published: bool
    suspect: bool
    recovered: bool
    #: its time is that of launches
    floor_bound: bool


#: Which cases count: every published row, or only those whose size is not doubted, with the true sizes that were recovered.
SELECTIONS: dict[str, Callable[[Entry], bool]] = {
    "published": lambda one: one.published,
    "published minus suspect plus recovered": lambda one: (one.published and not one.suspect) or one.recovered,
}


class OperatorScore(Record):
    """One operator's share of a score."""

    operator: str
    importance: float
    #: cases that count, and those of them whose time is that of launches
    cases: int
    floor_bound: int
    #: median efficiency of all of them, and of those that are not floor-bound
    median: float
    above_floor: float | None


class Score(Record):
    """An importance-weighted score over the operators that have a case in it."""

    selection: str
    operators: tuple[OperatorScore, ...]

    @property
    def importance(self) -> float:
        """Published importance of the operators in it: 1.09478 when it is all of them, since it was never normalised."""
        return sum(one.importance for one in self.operators)

    @property
    def raw(self) -> float:
        """Sum of importance times median efficiency."""
        return sum(one.importance * one.median for one in self.operators)

    @property
    def normalised(self) -> float:
        """`raw` divided by the importance that is covered."""
        return self.raw / self.importance if self.operators else 0.0


def score(entries: Iterable[Entry], selection: str) -> Score:
    """The score of the entries that `selection` names count; operators in the order of their importance."""
    groups: dict[str, list[Entry]] = {}
    for one in filter(SELECTIONS[selection], entries):
        groups.setdefault(one.operator, []).append(one)
    operators = [_operator(name, group) for name, group in groups.items()]
    return Score(selection=selection, operators=tuple(sorted(operators, key=lambda one: (-one.importance, one.operator))))


def _operator(name: str, group: Sequence[Entry]) -> OperatorScore:
    above = [one.efficiency for one in group if not one.floor_bound]
    return OperatorScore(
        operator=name,
        importance=group[0].importance,
        cases=len(group),
        floor_bound=len(group) - len(above),
        median=median(one.efficiency for one in group),
        above_floor=median(above) if above else None,
    )


def entries(found: Iterable[Measurement], provider: str | None = None) -> list[Entry]:
    """What of a run may enter a score: its passed cold cases of operators with an importance, each by its fastest provider.

    `provider`: that one alone. Raises Mistake where the run has none of that name.
    """
    found = list(found)
    names = {one.case.provider for one in found}
    if provider is not None and provider not in names:
        raise Mistake(f"--provider: {unknown('provider of this run', provider, names)}")
    best: dict[str, Entry] = {}
    for one in found:
        entry = _entry(one) if provider in (None, one.case.provider) else None
        key = one.case.shape
        if entry is not None and (key not in best or entry.efficiency > best[key].efficiency):
            best[key] = entry
    return list(best.values())


def _entry(one: Measurement) -> Entry | None:
    # What was timed from a warm cache has no memory roofline to be held against.
    if one.status != "passed" or one.efficiency is None or one.case.importance is None or one.cold is False:
        return None
    return Entry(
        operator=one.case.operator,
        provider=one.case.provider,
        importance=one.case.importance,
        efficiency=one.efficiency,
        published=one.case.provenance.id is not None,
        suspect="suspect" in one.case.tags,
        recovered="recovered" in one.case.tags,
        floor_bound=one.floor_bound,
    )
