"""Which nights a baseline takes in, and how its bar moves. Nothing here is silent: whatever is not taken says why.

A night that is as usual joins the window. A confirmed improvement raises the bar; whatever lowers it needs a reason. When the
bar moves, the nights before it stay as they were measured and carry the step as `shift`: their scatter goes on being known.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from ..environment import Environment, differences
from ..record import Record
from ..stats import cusum
from ..thresholds import Thresholds
from ..verdict import Verdict
from .baseline import Baseline, Entry, Golden, Night
from .fitness import aligned, show_change
from .judge import crept
from .nights import Tonight, entry


class Acceptance(Record):
    """A baseline after a run was taken into it."""

    baseline: Baseline
    #: cases whose night was taken in as it is, and those that are new
    accepted: int = 0
    new: int = 0
    #: cases without a time to take: skipped, wrong, or disturbed
    untimed: int = 0
    #: a sentence for each bar that was moved, and for each case that was left as it was
    moved: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    #: operators whose files are to be written
    operators: tuple[str, ...] = ()

    @property
    def reason_wanted(self) -> bool:
        """Whether a reason would have let more in."""
        return any(_ASK in one for one in self.left)


#: Outcomes that say how tonight's time compares with the window.
_JUDGED = ("same", "unstable", "learning", "improved", "regressed", "suspect")
_ASK = 'a reason accepts it, such as --dsbench-save="driver 580"'


def accept(
    baseline: Baseline,
    found: Sequence[Tonight],
    verdicts: Mapping[str, Verdict],
    now: Environment,
    limits: Thresholds,
    reason: str | None = None,
) -> Acceptance:
    """Takes the nights of a run into a baseline. `verdicts` are those of the gate on this baseline, by identity of the case."""
    entries, moved, left, operators = dict(baseline.entries), [], [], set()
    accepted = new = untimed = 0
    for one in found:
        name, operator = one.case.identity, one.case.operator
        if one.night is None:
            untimed += 1
            continue
        if operator in baseline.damaged:
            left.append(f"{one.case.name}: {baseline.damaged[operator]}; the file is left as it is")
            continue
        old = entries.get(name)
        entries[name], said, refused = (
            (entry(one), None, None) if old is None else _next(old, one, verdicts[name], limits, reason)
        )
        new += old is None
        accepted += old is not None and refused is None
        moved += [f"{one.case.name}: {said}"] if said else []
        left += [f"{one.case.name}: {refused}"] if refused else []
        if entries[name] != old:
            operators.add(operator)
    return Acceptance(
        baseline=baseline.replace(entries=entries, environments={**baseline.environments, now.key(): _place(baseline, now)}),
        accepted=accepted,
        new=new,
        untimed=untimed,
        moved=tuple(moved),
        left=tuple(left),
        operators=tuple(sorted(operators)),
    )


def _place(baseline: Baseline, now: Environment) -> Environment:
    """The environment as it is stored: replaced only for what is told of it, or its line would change with every save."""
    then = baseline.environments.get(now.key())
    return now if then is None or differences(then, now, matched=False) else then


def _next(
    old: Entry, found: Tonight, verdict: Verdict, limits: Thresholds, reason: str | None
) -> tuple[Entry, str | None, str | None]:
    """The entry after tonight, what to say where its bar was moved, and why where tonight was not taken in."""
    night = aligned(found, old)
    # A duet tells the step itself; else it is from the window, also of what crept away from the golden entry.
    told = verdict.confirmed_by == "duet" or verdict.level is None
    change = (verdict.change or 0.0) if told else (verdict.level or 0.0) - old.level
    if any((one.at, one.passes) == (night.at, night.passes) for one in old.window):
        return old, None, f"this night is in the window already ({night.at})"
    if verdict.outcome in _JUDGED:
        old = _settled(old, change, limits)
    match verdict.outcome:
        case "same" | "unstable" | "learning":
            return _joined(old, night, found, verdict, limits), None, None
        case "suspect" if reason is None and _slight(old, night, verdict, change, limits):
            return _joined(old, night, found, verdict, limits), None, None
        case "improved" | "suspect" if change < 0 and verdict.confirmed_by != "duet" and reason is None:
            # Without an old provider the bar follows night by night: one that was raised by accident would alarm every night.
            return _joined(old, night, found, verdict, limits), None, None
        case "improved":
            said = f"the bar is raised, {show_change(change)} than before"
            return _stepped(old, night, found, change, said, limits), said, None
        case "environment" if reason is not None:
            said = f"begins again: {reason} ({verdict.why})"
            fresh = entry(found)
            return fresh.replace(notes=(*old.notes, _dated(night, said))), said, None
        case "regressed" | "suspect" if reason is not None:
            said = f"the bar is moved, {show_change(change)} than before: {reason}"
            return _stepped(old, night, found, change, said, limits), said, None
        case "regressed":
            # What a duet has seen is no accident: it must not join the window later.
            waits = None if verdict.confirmed_by == "duet" else night
            return old.replace(pending=waits), None, f"regressed, {show_change(change)} than before, not accepted; {_ASK}"
        case "suspect":
            return old.replace(pending=night), None, f"suspect, not accepted: {verdict.why}; {_ASK}"
        case "environment":
            return old, None, f"not accepted: {verdict.why}; {_ASK}"
        case outcome:
            return old, None, f"not accepted: {outcome}"


def _slight(old: Entry, night: Night, verdict: Verdict, change: float, limits: Thresholds) -> bool:
    """Whether it is suspected only among all cases of its run, of a change that no measurement would be asked to confirm.

    It joins, or it would be suspected for ever; should such changes add up, they creep.
    """
    slight = verdict.confirmed_by is None and abs(change) <= limits.least
    return slight and crept(night, old, verdict.t_golden, limits) is None


def _settled(old: Entry, change: float, limits: Thresholds) -> Entry:
    """The entry without a pending night that tonight does not repeat: it was an accident, and joins the window.

    Were such nights left out, the window would hold only nights near its middle, and the scale of the case shrink.
    """
    if old.pending is None:
        return old
    before = old.pending.level - old.level
    if abs(before) <= limits.least:
        # It crept: no single night can refute it.
        return old
    if abs(change) > limits.least and (change > 0) == (before > 0):
        return old
    return old.replace(window=(*old.window, old.pending)[-limits.history :], pending=None)


def _joined(old: Entry, night: Night, found: Tonight, verdict: Verdict, limits: Thresholds) -> Entry:
    """The window with one more night of the same level; the golden entry is set as soon as there are nights enough."""
    window = (*old.window, night)[-limits.history :]
    golden = old.golden
    if golden is None and len(window) >= limits.learn:
        first = window[: limits.learn]
        golden = _golden(first[-1], median(one.level for one in first), median(one.seconds for one in first))
    creep = cusum(old.creep, verdict.t_golden, limits.creep_k) if verdict.t_golden is not None else old.creep
    if creep > limits.creep_h and verdict.confirmed_by is not None:
        # The suspicion was refuted: the sum begins again, or it would be raised anew every night.
        creep = 0.0
    return _kept(old, found).replace(window=window, golden=golden, creep=creep, pending=None)


def _stepped(old: Entry, night: Night, found: Tonight, change: float, said: str, limits: Thresholds) -> Entry:
    """The window moved to a new level, with tonight as its last night. What was golden is now this level."""
    moved = tuple(one.replace(shift=one.shift + change) for one in old.window)
    window = (*moved, night)[-limits.history :]
    golden = _golden(night, median(one.level for one in window), night.seconds) if old.golden else None
    return _kept(old, found).replace(
        window=window, golden=golden, creep=0.0, pending=None, notes=(*old.notes, _dated(night, said))
    )


def _kept(old: Entry, found: Tonight) -> Entry:
    """The entry with what may change from night to night."""
    fresh = entry(found)
    return old.replace(label=fresh.label, bench=fresh.bench or old.bench, t_sol=fresh.t_sol)


def _golden(night: Night, level: float, seconds: float) -> Golden:
    return Golden(at=night.at, commit=night.commit, level=level, seconds=seconds)


def _dated(night: Night, text: str) -> str:
    return f"{night.at[:10]}: {text}"
