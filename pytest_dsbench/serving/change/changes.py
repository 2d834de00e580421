"""Changes: how much longer each kernel of a layer takes than then, from what was measured of it or of its like.

Changes are ln(now / then): positive is slower.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal

from ...environment import Environment
from ...hardware import Hardware
from ...measurement import Measurement, Planned, read_back
from ...mistake import Mistake
from ...operators import find
from ...record import Record
from ...roofline import bound
from ...runs import Header, Run
from ...units import show_count, show_delta, show_seconds
from ..layer import Op
from ..price.efficiencies import Efficiencies, Point, between, shape_at
from .timed import Timed

#: Where a change comes from: its own shape, between shapes, the operator's other shapes; nothing is known of the last.
Origin = Literal["measured", "interpolated", "other shapes", "not measured"]


class Change(Record):
    """How much longer a kernel takes, and what says so."""

    value: float = 0.0
    low: float | None = None
    high: float | None = None
    origin: Origin = "not measured"
    why: str
    #: the one that the layer runs, at a shape that was measured
    provider: str | None = None
    #: what else there is to say of the provider
    note: str | None = None

    @property
    def noise(self) -> bool:
        """Whether it may be none: its interval holds 0."""
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high


class _Chosen(Record):
    """The provider that a layer runs at one shape, among all that were measured there."""

    timed: Timed
    others: tuple[Timed, ...]


class Changes:
    """Cases by shape; at each shape the one of the provider that a layer runs."""

    def __init__(self, timed: Iterable[Timed], provider: str | None = None) -> None:
        """A layer runs `provider` where that has a time, else the fastest then; of what had no time then, the fastest now."""
        groups: dict[str, list[Timed]] = {}
        #: why an operator has no time now, where one of its cases should have one
        self._lost: dict[str, str] = {}
        for one in timed:
            if one.lost is not None:
                self._lost.setdefault(one.case.operator, f"{one.case.name} is {one.lost}")
            if one.then is not None or one.now is not None:
                groups.setdefault(one.case.shape, []).append(one)
        self._points: dict[str, dict[Point, _Chosen]] = {}
        self._operators: dict[str, list[_Chosen]] = {}
        for group in groups.values():
            self._add(_choose(group, provider))

    def _add(self, chosen: _Chosen) -> None:
        case = chosen.timed.case
        shape = shape_at(case.operator, case.dims)
        self._points.setdefault(shape.words, {})[shape.sizes] = chosen
        self._operators.setdefault(case.operator, []).append(chosen)

    def of(self, op: Op) -> Change:
        """The change of a kernel: of its own shape, between shapes, or as the operator's other shapes."""
        shape = shape_at(op.operator.name, read_back(op.operator))
        points = {point: chosen for point, chosen in self._points.get(shape.words, {}).items() if chosen.timed.change is not None}
        if shape.sizes in points:
            return _measured(points[shape.sizes], op)
        if points and (found := _interpolated(points, shape.sizes)) is not None:
            return found
        others = [chosen.timed for chosen in self._operators.get(op.operator.name, []) if chosen.timed.change is not None]
        return _as_others(op, others) if others else Change(why=self._nothing(op))

    def _nothing(self, op: Op) -> str:
        name = op.operator.name
        lost = self._lost.get(name)
        return f"{name} was not measured then and now{f': {lost}' if lost else ''}"

    def fastest(self, op: Op) -> Timed | None:
        """The provider that is faster now at this very shape than the one that the layer runs; None where there is none."""
        shape = shape_at(op.operator.name, read_back(op.operator))
        chosen = self._points.get(shape.words, {}).get(shape.sizes)
        return _rival(chosen) if chosen is not None else None

    def chosen(self, op: Op) -> Timed | None:
        """The case that the layer runs at this very shape."""
        shape = shape_at(op.operator.name, read_back(op.operator))
        found = self._points.get(shape.words, {}).get(shape.sizes)
        return found.timed if found is not None else None

    def efficiencies(self, gpu: Hardware, when: Literal["then", "now"]) -> Efficiencies:
        """T_SOL / T of what the layer runs, with T_SOL on this sheet; where there is no time of `when`, the other one."""
        found = []
        for chosen in (one for group in self._operators.values() for one in group):
            timed = chosen.timed
            seconds = (timed.then or timed.now) if when == "then" else (timed.now or timed.then)
            t_sol = _t_sol(timed.case, gpu)
            if seconds and t_sol is not None and not timed.warm:
                found.append(Measurement(case=timed.case, status="passed", efficiency=t_sol / seconds, cold=True))
        header = Header(started="", environment=Environment(device="cuda"), hardware=gpu)
        return Efficiencies([Run(path="", header=header, measurements=tuple(found), end=None)])


def _t_sol(case: Planned, gpu: Hardware) -> float | None:
    """None for a bench by hand, and for dimensions or units that are not known here."""
    try:
        return bound(find(case.operator).build(case.dims).work(), gpu).seconds
    except Mistake:
        return None


def _choose(group: Sequence[Timed], provider: str | None) -> _Chosen:
    """What was measured then and now comes first, then what was then; of those the provider asked for, or the fastest."""

    def rank(one: Timed) -> tuple[int, bool, float]:
        state = 0 if one.change is not None else 1 if one.then is not None else 2
        return state, one.case.provider != provider, one.then or one.now or 0.0

    best = min(group, key=rank)
    return _Chosen(timed=best, others=tuple(one for one in group if one is not best))


def _rival(chosen: _Chosen) -> Timed | None:
    mine = chosen.timed
    alike = [one for one in chosen.others if one.warm == mine.warm and one.now is not None]
    faster = [one for one in alike if mine.now is not None and (one.now or 0.0) < mine.now]
    return min(faster, key=lambda one: one.now or 0.0, default=None)


def _measured(chosen: _Chosen, op: Op) -> Change:
    timed = chosen.timed
    assert timed.change is not None
    notes = [op.note] if op.note else []
    if op.count > 1:
        notes.append(f"{op.count} of them in one launch; one was measured")
    lost = [one for one in chosen.others if one.lost and one.then is not None and one.then < (timed.then or 0.0)]
    notes += [f"{one.case.provider} was faster then and has no time now ({one.lost})" for one in lost]
    if (rival := _rival(chosen)) is not None and rival.now is not None:
        notes.append(f"{rival.case.provider} is faster now, {show_seconds(rival.now)}")
    return Change(
        value=timed.change,
        low=timed.low,
        high=timed.high,
        origin="measured",
        why=timed.case.provider,
        provider=timed.case.provider,
        note="; ".join(notes) or None,
    )


def _interpolated(points: Mapping[Point, _Chosen], at: Point) -> Change | None:
    def along(value: Callable[[Timed], float | None]) -> float | None:
        known = {point: value(chosen.timed) for point, chosen in points.items()}
        if any(one is None for one in known.values()):
            return None
        return between(list(points), lambda point: known[point] or 0.0, at)

    middle = along(lambda one: one.change)
    if middle is None:
        return None
    providers = sorted({chosen.timed.case.provider for chosen in points.values()})
    why = f"{', '.join(providers)}, between {show_count(len(points), 'measured shape')}"
    low, high = along(lambda one: one.low), along(lambda one: one.high)
    return Change(value=middle, low=low, high=high, origin="interpolated", why=why)


def _as_others(op: Op, others: Sequence[Timed]) -> Change:
    """The geometric mean of the ratios. Its interval spans all of them, and is no narrower than theirs are on average."""
    changes = [one.change for one in others if one.change is not None]
    lows = [one.low for one in others if one.low is not None]
    highs = [one.high for one in others if one.high is not None]
    span = f"{show_delta(min(changes))} to {show_delta(max(changes))}" if len(changes) > 1 else show_delta(changes[0])
    shapes = f"{show_count(len(changes), 'other shape')} of {op.operator.name}"
    return Change(
        value=fmean(changes),
        low=min(*changes, fmean(lows)) if lows else min(changes) if len(changes) > 1 else None,
        high=max(*changes, fmean(highs)) if highs else max(changes) if len(changes) > 1 else None,
        origin="other shapes",
        why=f"assumed to change as {shapes}, {span}",
    )
