"""The head of the page: for each device its score, the gate's verdicts, and what of its cases is covered."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import get_args

from ...record import Record
from ...results import Collection, Device, Result
from ...results.result import Standing
from ...results.standing import kernels
from ...score import SELECTIONS, Score, entries, score
from ...shapes import bundled, load
from ...units import show_delta, show_share
from ...verdict import ALARMS, Outcome, Verdict
from ..gate import SHOWN
from ..score import importances, percent
from ..terminal import general

#: More lines than this of one kind say nothing more.
_MOST = 25
#: What became of a case, and the statuses that are that.
_KINDS: dict[str, tuple[str, ...]] = {
    "timed": ("passed",),
    "timed, disturbed": ("noisy_host", "throttled"),
    "checked, not timed": ("checked",),
    "failed": ("failed", "invalid", "crashed", "timed_out"),
    "skipped": ("skipped",),
    "not run": ("not_run",),
}
_KIND_OF = {status: name for name, statuses in _KINDS.items() for status in statuses}


class Scored(Record):
    """One score, as text."""

    selection: str
    raw: str
    normalised: str
    covers: str


class Alarm(Record):
    """A verdict that fails a run, as text."""

    outcome: str
    name: str
    where: str
    efficiency: str
    change: str
    allowed: str
    why: str


class Judged(Record):
    """What the gate said of the newest run that it judged."""

    run: str
    started: str
    counts: tuple[tuple[str, int, bool], ...]
    alarms: tuple[Alarm, ...]
    #: alarms that have no line
    more: int


class Kind(Record):
    """How many cases became what."""

    name: str
    count: int
    share: float


class Overview(Record):
    """One device."""

    device: Device
    results: int
    operators: int
    providers: tuple[str, ...]
    #: how many of its cases have an efficiency that says something of a kernel, and how many are launches or warm
    counting: int
    floor_bound: int
    warm: int
    scores: tuple[Scored, ...]
    judged: Judged | None
    kinds: tuple[Kind, ...]
    reasons: tuple[tuple[str, str, int], ...]
    more_reasons: int
    kernels: int
    passing: int
    failing_kernels: tuple[str, ...]
    silent_kernels: tuple[str, ...]


def overviews(collection: Collection) -> list[Overview]:
    """Every device, in the order of the collection."""
    return [_overview(device) for device in collection.devices]


def _overview(device: Device) -> Overview:
    found = device.latest
    reasons = _reasons(found)
    every = kernels(found)
    by = {word: tuple(f"{one.kernel} {one.provider}" for one in every if one.standing == word) for word in get_args(Standing)}
    return Overview(
        device=device,
        results=len(found),
        operators=len({one.case.operator for one in found}),
        providers=tuple(sorted({one.case.provider for one in found})),
        counting=sum(one.counts for one in found),
        floor_bound=sum(one.counts and one.floor_bound for one in found),
        warm=sum(one.measurement.status == "passed" and one.measurement.cold is False for one in found),
        scores=_scores(found),
        judged=_judged(device),
        kinds=_kinds(found),
        reasons=tuple(reasons[:_MOST]),
        more_reasons=len(reasons[_MOST:]),
        kernels=len(every),
        passing=len(by["passing"]),
        failing_kernels=by["failing"],
        silent_kernels=by["not timed"],
    )


@cache
def _known() -> dict[str, float]:
    return importances(load(bundled()).cases)


def _scores(found: Sequence[Result]) -> tuple[Scored, ...]:
    """Each selection of cases, where one of them has an importance."""
    scored = entries(one.measurement for one in found)
    return tuple(_scored(score(scored, selection)) for selection in SELECTIONS) if scored else ()


def _scored(one: Score) -> Scored:
    if not one.operators:
        return Scored(selection=one.selection, raw="-", normalised="-", covers="no case of it was timed")
    # An operator that the package does not know has a share in the whole all the same.
    known = _known() | {operator.operator: operator.importance for operator in one.operators}
    return Scored(
        selection=one.selection,
        raw=percent(one.raw),
        normalised=percent(one.normalised),
        covers=f"{len(one.operators)} of {len(known)} operators, importance {one.importance:.5f} of {sum(known.values()):.5f}",
    )


def _kinds(found: Sequence[Result]) -> tuple[Kind, ...]:
    totals = Counter(_KIND_OF[one.measurement.status] for one in found)
    return tuple(Kind(name=name, count=count, share=count / len(found)) for name in _KINDS if (count := totals[name]))


def _reasons(found: Iterable[Result]) -> list[tuple[str, str, int]]:
    """Why cases were not timed, or not left to themselves, the most frequent first."""
    counts = Counter(
        (_KIND_OF[one.measurement.status], general(one.measurement.reason or "no reason is given"))
        for one in found
        if one.measurement.status not in ("passed", "checked")
    )
    return [(*key, count) for key, count in counts.most_common()]


def _judged(device: Device) -> Judged | None:
    source = next((source for source in reversed(device.sources) if source.verdicts), None)
    if source is None:
        return None
    counts = Counter(one.outcome for one in source.verdicts)
    order: tuple[Outcome, ...] = (*SHOWN, *(one for one in get_args(Outcome) if one not in SHOWN))
    alarms = sorted(
        (one for one in source.verdicts if one.alarm), key=lambda one: (order.index(one.outcome), -(one.change or 0.0))
    )
    return Judged(
        run=source.name,
        started=source.header.started,
        counts=tuple((name.replace("_", " "), counts[name], name in ALARMS) for name in order if counts[name]),
        alarms=tuple(map(_alarm, alarms[:_MOST])),
        more=len(alarms[_MOST:]),
    )


def _alarm(one: Verdict) -> Alarm:
    then, now = (show_share(share) if share is not None else "-" for share in (one.efficiency_then, one.efficiency_now))
    interval = f" ({show_delta(one.low)} ... {show_delta(one.high)})" if one.low is not None and one.high is not None else ""
    changed = f"also changed: {', '.join(one.changed)}" if one.changed else ""
    return Alarm(
        outcome=one.title,
        name=one.case.name,
        where=one.case.where,
        efficiency="-" if then == now == "-" else f"{then} → {now}",
        change="-" if one.change is None else show_delta(one.change) + interval,
        allowed="-" if one.allowed is None else show_delta(one.allowed),
        why="; ".join(part for part in (one.why or "", changed) if part),
    )
