"""A gate over many nights: it judges, has its suspicions confirmed, and takes what was accepted into its baseline."""

from collections.abc import Callable, Collection, Mapping, Sequence

from ..gate.accepting import accept
from ..gate.baseline import Baseline, Night
from ..gate.judge import Gate, doubted
from ..gate.judgement import Judgement, judge_run
from ..gate.nights import Tonight
from ..runs import Coverage
from ..thresholds import Thresholds
from ..verdict import Confirmation, Verdict
from .records import ENVIRONMENT, HARDWARE

Confirm = Callable[[Tonight], Confirmation]

_EVERYTHING = Coverage(paths=("",))


class Keeper:
    """One gate with its baseline. `duelling`: with an old provider to ask."""

    def __init__(self, limits: Thresholds, duelling: bool = False) -> None:
        self._limits = limits
        self._duelling = duelling
        self._baseline = Baseline(source="history", hardware=HARDWARE.name)
        self._gate = Gate(self._baseline, limits, ENVIRONMENT)
        #: suspicions of the last night, and those of a slowdown
        self.doubts = 0
        self.slow_doubts = 0

    def judge(self, found: Sequence[Tonight], confirm: Confirm) -> Judgement:
        """The final verdicts on a night, every suspicion confirmed or refuted."""
        self._gate = Gate(self._baseline, self._limits, ENVIRONMENT)
        cases = {one.case.identity: one for one in found}
        first = judge_run(self._gate, found, _EVERYTHING)
        doubts = [one for one in first.verdicts if doubted(one, self._limits, self._duelling)]
        self.doubts, self.slow_doubts = len(doubts), sum((one.change or 0.0) > 0 for one in doubts)
        return judge_run(self._gate, found, _EVERYTHING, [confirm(cases[one.case.identity]) for one in doubts])

    def again(self, found: Tonight, before: Night, confirm: Confirm) -> Verdict:
        """What the gate would say of this case alone had `before` been its last night."""
        name = found.case.identity
        entry = self._baseline.entries[name]
        self._baseline.entries[name] = entry.replace(pending=before)
        try:
            verdict = self._gate.judge(found)
            return self._gate.judge(found, confirm(found)) if doubted(verdict, self._limits, self._duelling) else verdict
        finally:
            self._baseline.entries[name] = entry

    def accept(self, found: Sequence[Tonight], verdicts: Mapping[str, Verdict], without: Collection[str] = ()) -> None:
        """Takes a night into the baseline, but for some cases."""
        kept = [one for one in found if one.case.identity not in without]
        self._baseline = accept(self._baseline, kept, verdicts, ENVIRONMENT, self._limits).baseline
