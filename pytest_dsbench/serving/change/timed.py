"""Timed: the cases of a run and of its baseline, each with its times then and now. Changes are ln(now / then)."""

from collections.abc import Container, Iterable
from math import exp, log

from ...anchors import Anchors
from ...gate.baseline import Baseline
from ...gate.finish import judge
from ...gate.nights import tonight
from ...measurement import Measurement, Planned
from ...record import Record
from ...runs import Header, Run
from ...verdict import Outcome, Verdict


class Timed(Record):
    """One case of one provider. Seconds, None where there is no time."""

    case: Planned
    then: float | None = None
    #: after what the machine did was taken off, where that is known
    now: float | None = None
    #: ln(now / then), with its 95 % interval where that is known
    change: float | None = None
    low: float | None = None
    high: float | None = None
    #: what the gate said of it; None where it was not asked
    outcome: Outcome | None = None
    #: why it has no time now
    lost: str | None = None
    #: why the gate does not judge it: its bare times are held against each other, and what the machine did is in them
    unjudged: str | None = None
    #: timed from a warm cache: its change counts, its times are none of the roofline's
    warm: bool = False


def held(run: Run, header: Header, against: Baseline) -> list[Timed]:
    """The cases of a run against its baseline, as the gate holds them.

    Where the gate does not judge because the environment is another one, the bare times are held against each other: what a new
    driver costs is a cost too. Cases that were timed in another way are not.
    """
    found = tonight(run.measurements, header)
    judged = judge(found, header, run.confirmations, against, header.limits)
    same = set()
    for one in found:
        entry = against.entries.get(one.case.identity)
        if entry is not None and (one.mode, one.cold, one.protocol) == (entry.mode, entry.cold, entry.protocol):
            same.add(one.case.identity)
    return of_verdicts(judged.verdicts, warm=warm(run.measurements), bare=same)


def anchored(run: Run) -> Run:
    """A run that took no anchors as if its machine had not moved."""
    still = Anchors(copy_seconds=1.0, compute_seconds=1.0, launch_seconds=1.0, compute_kind="none")
    return run.replace(measurements=tuple(one.replace(anchors=still, at=one.at or 0.0) for one in run.measurements))


def warm(measurements: Iterable[Measurement]) -> frozenset[str]:
    """Identities of the cases that were timed from a warm cache."""
    return frozenset(one.case.identity for one in measurements if one.cold is False)


def of_verdicts(
    verdicts: Iterable[Verdict], warm: Container[str] = (), bare: Container[str] = (), confirmed: bool = False
) -> list[Timed]:
    """The cases of verdicts. `confirmed`: what is neither regressed nor improved counts as unchanged. `bare`: as in `held`."""
    found = []
    for one in verdicts:
        name = one.case.identity
        timed = Timed(case=one.case, then=one.then, now=one.now, outcome=one.outcome, warm=name in warm)
        if one.then is None or one.now is None:
            lost = f"{one.title}{f': {one.why}' if one.why else ''}" if one.now is None else None
            found.append(timed.replace(lost=lost))
        elif confirmed and one.outcome not in ("regressed", "improved"):
            found.append(timed.replace(now=one.then, change=0.0, low=0.0, high=0.0))
        elif one.change is not None:
            # What several nights confirmed together is no noise, whatever the interval of one of them says.
            doubtful = confirmed and (one.low or 0.0) <= 0 <= (one.high or 0.0)
            low, high = (None, None) if doubtful else (one.low, one.high)
            found.append(timed.replace(now=one.then * exp(one.change), change=one.change, low=low, high=high))
        elif name in bare:
            found.append(timed.replace(change=log(one.now / one.then), unjudged=one.why))
        else:
            found.append(timed)
    return found


def of_run(run: Run) -> list[Timed]:
    """The cases of a run alone: what they take now, the last passed measurement of each."""
    found = {
        one.case.identity: Timed(case=one.case, now=one.time.median, warm=one.cold is False)
        for one in run.measurements
        if one.status == "passed" and one.time is not None and one.time.median > 0
    }
    return list(found.values())
