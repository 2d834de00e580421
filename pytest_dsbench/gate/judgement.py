"""The gate's word on a whole run: every verdict, what moved together, what is missing, and the exit code."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from ..record import Record
from ..runs import Coverage
from ..thresholds import Thresholds
from ..verdict import UNFIT, Confirmation, Outcome, Verdict
from .baseline import Entry
from .fitness import aligned, show_change
from .judge import Gate
from .nights import Tonight
from .screen import Screened, across, flagged, moved

#: Fewer cases than this do not move "together".
_TOGETHER = 5


class Judgement(Record):
    """What the gate says of a whole run."""

    #: what it was held against
    source: str
    verdicts: tuple[Verdict, ...]
    #: providers that moved as a whole, a sentence each; the alarming ones are slower
    joint: tuple[str, ...] = ()
    joint_alarm: bool = False
    #: of those that moved together: what is not as it was, then -> now
    changed: tuple[str, ...] = ()
    #: a sentence for each line of the baseline that could not be read
    complaints: tuple[str, ...] = ()

    def count(self, *outcomes: Outcome) -> int:
        """How many cases came out so."""
        return sum(one.outcome in outcomes for one in self.verdicts)

    def code(self, accepted: bool = False) -> int:
        """0; 1 for a regression, a wrong, missing or crashed case; 3 where the environment is not fit to judge.

        `accepted`: slowdowns and a new environment were accepted with a reason.
        """
        slower = self.joint_alarm or self.count("regressed") > 0
        if (slower and not accepted) or any(one.alarm and one.outcome != "regressed" for one in self.verdicts):
            return 1
        if accepted:
            return 0
        judged = len(self.verdicts) - self.count("new", "not_run")
        disturbed = 2 * self.count(*UNFIT) > judged
        return 3 if self.count("environment") or disturbed else 0


def judge_run(gate: Gate, found: Sequence[Tonight], coverage: Coverage, confirmations: Iterable[Confirmation] = ()) -> Judgement:
    """All verdicts on a run that is over, with what only the whole of it can tell."""
    confirmed = {one.case.identity: one for one in confirmations if one.how != "self"}
    screened = _screened(gate, found)
    chosen = flagged(screened, gate.limits) if screened else set()
    verdicts = [
        gate.judge(one, confirmed.get(name), screened.get(name), name in chosen if name in screened else None)
        for name, one in ((one.case.identity, one) for one in found)
    ]
    present = {one.case.identity for one in found}
    for name, entry in gate.baseline.entries.items():
        if name not in present and coverage.holds(entry.operator, entry.provider, entry.bench):
            verdicts.append(_missing(entry, gate))
    joint, alarm = _joint(gate, screened, {one.case.identity: one for one in found})
    return Judgement(
        source=gate.baseline.source,
        verdicts=tuple(verdicts),
        joint=joint,
        joint_alarm=alarm,
        changed=_common(verdicts, screened, gate.limits) if joint else (),
        complaints=gate.baseline.complaints,
    )


def _common(verdicts: Iterable[Verdict], screened: Mapping[str, Screened], limits: Thresholds) -> tuple[str, ...]:
    """What changed for at least half of the cases that moved."""
    names = {name for name, one in screened.items() if moved(one, limits)}
    counts = Counter(what for one in verdicts if one.case.identity in names for what in one.changed)
    return tuple(what for what, count in counts.most_common() if 2 * count >= len(names))


def _screened(gate: Gate, found: Sequence[Tonight]) -> dict[str, Screened]:
    """The screen of every case that has a time and an entry it can be held against."""
    pairs = {}
    for one in found:
        entry = gate.baseline.entries.get(one.case.identity)
        if entry is not None and one.night is not None and not gate.unfit(one, entry):
            pairs[one.case.identity] = (aligned(one, entry), entry)
    if gate.baseline.history:
        return {name: gate.screen(*pair) for name, pair in pairs.items()}
    return dict(zip(pairs, across(list(pairs.values()), gate.limits), strict=True))


def _missing(entry: Entry, gate: Gate) -> Verdict:
    why = f"{gate.baseline.source} has it, last on {entry.window[-1].at[:10]}; this run did not collect it"
    return Verdict(case=entry.case, outcome="missing", why=why, then=entry.seconds, efficiency_then=entry.t_sol / entry.seconds)


def _joint(gate: Gate, screened: Mapping[str, Screened], found: Mapping[str, Tonight]) -> tuple[tuple[str, ...], bool]:
    """Providers of which a good part moved the same way, and whether one of them got slower."""
    sentences, alarm = [], False
    for provider in sorted({one.case.provider for one in found.values()}):
        group = [one for name, one in screened.items() if found[name].case.provider == provider]
        changes = [one.change for one in group if moved(one, gate.limits)]
        for slower in (True, False):
            together = [one for one in changes if (one > 0) == slower]
            if len(together) >= max(_TOGETHER, gate.limits.joint * len(group)):
                size = show_change(median(together))
                sentences.append(f"{provider}: {len(together)} of {len(group)} cases moved together, in the middle {size}")
                alarm |= slower
    return tuple(sentences), alarm
