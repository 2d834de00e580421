"""What one run says about each case, in the form the gate judges: passes put together, anchors interpolated in time."""

from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from statistics import geometric_mean

from ..anchors import Anchors
from ..measurement import Measurement, Planned, Status
from ..mistake import Mistake
from ..record import Record
from ..runs import Header, Run
from .baseline import Baseline, Entry, Night

#: A case that was measured several times in one run is as good as the worst of them.
_WORST: tuple[Status, ...] = ("invalid", "failed", "crashed", "timed_out", "throttled", "noisy_host", "passed")


class Tonight(Record):
    """One case in one run."""

    case: Planned
    status: Status
    reason: str | None = None
    #: None where there is no time to judge
    night: Night | None = None
    #: as in Entry
    key: str = ""
    mode: str = ""
    cold: bool = True
    protocol: int = 1
    t_sol: float = 0.0
    by: str = ""


def tonight(measurements: Sequence[Measurement], header: Header) -> list[Tonight]:
    """Every case of a run. Measurements of the same case are its passes."""
    groups: dict[str, list[Measurement]] = {}
    for one in measurements:
        groups.setdefault(one.case.identity, []).append(one)
    devices = {one.device for one in measurements}
    courses = {device: _course(one for one in measurements if one.device == device) for device in devices}
    return [_case(group, header, courses) for group in groups.values()]


#: Anchors with the times they were taken at, in order.
Course = Sequence[tuple[float, Anchors]]


def _course(measurements: Iterable[Measurement]) -> list[tuple[float, Anchors]]:
    """The anchors of a run with the times they were taken at: just before the first case that carries them."""
    found: list[tuple[float, Anchors]] = []
    timed = [(one.at, one.anchors) for one in measurements if one.anchors is not None and one.at is not None]
    for at, anchors in sorted(timed, key=lambda pair: pair[0]):
        if not found or found[-1][1] != anchors:
            found.append((at, anchors))
    return found


def interpolated(course: Course, at: float, by: str) -> float:
    """Seconds of the anchor of a bound at one moment, between the anchors before and after it in proportion of ln."""
    place = bisect([when for when, _ in course], at)
    before, after = course[max(place - 1, 0)], course[min(place, len(course) - 1)]
    span = after[0] - before[0]
    share = (at - before[0]) / span if span > 0 else 0.0
    low, high = before[1].of(by), after[1].of(by)
    return low if before[1].compute_kind != after[1].compute_kind else exp((1 - share) * log(low) + share * log(high))


def _case(group: Sequence[Measurement], header: Header, courses: Mapping[str | None, Course]) -> Tonight:
    # A status that is not listed says that nothing was timed: skipped, or only checked.
    worst = min(group, key=lambda one: _WORST.index(one.status) if one.status in _WORST else len(_WORST))
    found = Tonight(case=worst.case, status=worst.status, reason=worst.reason)
    timed = [one for one in group if one.status == "passed"]
    if worst.status != "passed" or worst.bound is None:
        return found
    night = _night(timed, header, courses)
    return found.replace(
        night=night,
        reason=found.reason if night else "its run took no anchors, and without them it cannot be held against another night",
        key=worst.environment or header.environment.key(),
        mode=worst.mode or "",
        cold=worst.cold is not False,
        protocol=worst.protocol,
        t_sol=worst.bound.seconds,
        by=_bound(worst),
    )


def _night(timed: Sequence[Measurement], header: Header, courses: Mapping[str | None, Course]) -> Night | None:
    first = timed[0]
    if first.time is None or first.bound is None or first.anchors is None or first.at is None:
        return None
    by = _bound(first)
    anchors = [interpolated(courses[one.device], one.at, by) for one in timed if one.at is not None]
    anchor = geometric_mean(anchors)
    return Night(
        at=header.started,
        commit=(header.environment.commit or "")[:12] or None,
        passes=tuple(_short(one.time.median) for one in timed if one.time is not None),
        low=_short(first.time.low),
        high=_short(first.time.high),
        anchors=_rounded(first.anchors),
        anchor=_short(anchor),
        packages=dict(sorted(first.packages.items())),
    )


def _bound(one: Measurement) -> str:
    """What binds a case: from a warm cache memory does not."""
    assert one.bound is not None
    return "compute" if one.cold is False else one.bound.by


def _rounded(anchors: Anchors) -> Anchors:
    return anchors.replace(
        copy_seconds=_short(anchors.copy_seconds),
        compute_seconds=_short(anchors.compute_seconds),
        launch_seconds=_short(anchors.launch_seconds),
    )


def _short(seconds: float) -> float:
    """Six digits: far finer than any measurement, and a line of a baseline stays readable."""
    return float(f"{seconds:.6g}")


def entry(found: Tonight) -> Entry:
    """A baseline entry of this night alone."""
    assert found.night is not None
    return Entry(
        operator=found.case.operator,
        dims=found.case.dims,
        label=found.case.label,
        provider=found.case.provider,
        bench=found.case.bench,
        key=found.key,
        mode=found.mode,
        cold=found.cold,
        protocol=found.protocol,
        t_sol=_short(found.t_sol),
        by=found.by,
        window=(found.night,),
    )


def of_run(run: Run) -> Baseline:
    """A finished run in the place of a history: one night. Raises Mistake where its first line is lost."""
    header = run.header
    if header is None:
        raise Mistake(f"{run.path}: the first line of the run is lost, and with it where it was measured")
    return Baseline(
        source=run.path,
        hardware=header.hardware.name,
        entries={one.case.identity: entry(one) for one in tonight(run.measurements, header) if one.night is not None},
        environments={header.environment.key(): header.environment},
        complaints=run.complaints,
        history=False,
    )
