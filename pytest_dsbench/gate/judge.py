"""The gate: what became of one case, from its screen and from what was measured to confirm it."""

from math import exp, log, log1p
from statistics import median

from ..environment import Environment, differences
from ..stats import cusum
from ..thresholds import Thresholds
from ..units import show_share
from ..verdict import Confirmation, Outcome, Verdict
from .baseline import Baseline, Entry, Night
from .fitness import aligned, show_change, unfit
from .nights import Tonight
from .screen import Scales, Screened, across, moved, paired, screen, wary

#: What a status that was not timed means to the gate.
_UNTIMED: dict[str, Outcome] = {
    "failed": "invalid",
    "invalid": "invalid",
    "crashed": "crashed",
    "timed_out": "timed_out",
    "noisy_host": "noisy_host",
    "throttled": "throttled",
    "skipped": "not_run",
    "checked": "not_run",
    "not_run": "not_run",
}
#: What a duet may say; with anything else a suspect stays one.
_DUETS: dict[str, Outcome] = {
    "regressed": "regressed",
    "improved": "improved",
    "same": "same",
    "invalid": "invalid",
    "noisy_host": "noisy_host",
}
#: Two-sided 95 %.
_95 = 1.96


class Gate:
    """A baseline and the thresholds; judges one case as soon as it was timed, and the run when it is over."""

    def __init__(self, baseline: Baseline, limits: Thresholds, now: Environment) -> None:
        self.baseline = baseline
        self.limits = limits
        self._now = now
        self._scales = Scales(baseline.entries.values(), limits)

    def judge(
        self,
        found: Tonight,
        confirmation: Confirmation | None = None,
        screened: Screened | None = None,
        flag: bool | None = None,
    ) -> Verdict:
        """The verdict on one case. `screened` and `flag` come from the whole run; without them the case is judged alone."""
        verdict = Verdict(case=found.case, outcome="same", t_sol=found.t_sol or None)
        entry = self.baseline.entries.get(found.case.identity)
        if found.night is None:
            return verdict.replace(outcome=_UNTIMED.get(found.status, "not_run"), why=found.reason)
        verdict = verdict.replace(now=found.night.seconds, efficiency_now=found.t_sol / found.night.seconds)
        if entry is None:
            return verdict.replace(outcome="new", why=f"{self.baseline.source} has no entry of it")
        night = aligned(found, entry)
        if entry.pending == night:
            # This run was looked at before: it cannot repeat itself.
            entry = entry.replace(pending=None)
        verdict = self._beside(verdict, night, entry)
        # Old and new side by side need no anchor: what the machine did, it did to both.
        duelled = confirmation is not None and confirmation.how == "duet"
        if not duelled and (unfit := self.unfit(found, entry)):
            return verdict.replace(outcome="environment", why=unfit)
        screened = screened or self.screen(night, entry)
        verdict = verdict.replace(
            change=screened.change,
            low=screened.change - _95 * screened.spread,
            high=screened.change + _95 * screened.spread,
            allowed=screened.allowed(self.limits),
            mde=screened.mde(self.limits),
            level=screened.level,
            t=screened.t,
            t_golden=screened.t_golden,
        )
        verdict = verdict.replace(crept=crept(night, entry, screened.t_golden, self.limits))
        flag = moved(screened, self.limits) if flag is None else flag
        return self._decide(verdict, entry, screened, flag, confirmation)

    def screen(self, night: Night, entry: Entry) -> Screened:
        """One case alone against its window, or against the single earlier night there is."""
        if self.baseline.history:
            return screen(night, entry, self._scales.of(entry))
        return across([(night, entry)], self.limits)[0]

    def _beside(self, verdict: Verdict, night: Night, entry: Entry) -> Verdict:
        """The verdict with what was then."""
        last = entry.window[-1]
        changed = [
            f"{name} {last.packages.get(name, 'none')} -> {night.packages.get(name, 'none')}"
            for name in sorted(last.packages.keys() | night.packages.keys())
            if last.packages.get(name) != night.packages.get(name)
        ]
        if last.commit != night.commit:
            changed.append(f"commit {last.commit or 'none'} -> {night.commit or 'none'}")
        then = self.baseline.environments.get(entry.key)
        told = differences(then, self._now, matched=False) if then else ()
        if verdict.t_sol and abs(log(verdict.t_sol / entry.t_sol)) > 1e-4:
            changed.append(f"T_SOL {show_share(verdict.t_sol / entry.t_sol)} of what it was")
        return verdict.replace(
            then=entry.seconds,
            efficiency_then=entry.t_sol / entry.seconds,
            nights=len(entry.window),
            needed=self.limits.learn,
            changed=(*changed, *told),
        )

    def unfit(self, found: Tonight, entry: Entry) -> str | None:
        """Why a time of tonight cannot be held against the entry: another environment, or a machine that moved."""
        return unfit(found, entry, self.baseline.environments.get(entry.key), self._now, self.limits)

    def _decide(
        self,
        verdict: Verdict,
        entry: Entry,
        screened: Screened,
        flag: bool,
        confirmation: Confirmation | None,
    ) -> Verdict:
        learning = self.baseline.history and len(entry.window) < self.limits.learn
        # A step is told as one; what is flagged and smaller than any step is the last of many.
        slowly = verdict.crept is not None and not (flag and abs(screened.change) > self.limits.least)
        if confirmation is not None and confirmation.how == "duet":
            return _by_duet(verdict, confirmation)
        if confirmation is not None:
            return self._by_rerun(verdict, entry, slowly, confirmation)
        if verdict.crept is not None and slowly:
            why = f"crept: {show_change(verdict.crept)} than the golden entry of {_day(entry)} over the last nights"
            return verdict.replace(outcome="suspect", why=why)
        if flag and self._strict(screened.change, wary(entry, screened.spread)):
            return verdict.replace(outcome=_direction(screened.change), why="not confirmed by another measurement")
        if flag and not learning:
            return verdict.replace(outcome="suspect", why=f"{show_change(screened.change)}, not confirmed")
        if learning:
            return verdict.replace(outcome="learning")
        if screened.mde(self.limits) > log1p(self.limits.unstable):
            return verdict.replace(
                outcome="unstable", why=f"only slowdowns above {show_share(exp(verdict.mde or 0) - 1)} are found"
            )
        return verdict

    def _strict(self, change: float, spread: float) -> bool:
        """Whether a change needs no old provider beside it to be believed."""
        return abs(change) > log1p(self.limits.strict_change) and abs(change) / spread > self.limits.strict_t

    def _by_rerun(self, verdict: Verdict, entry: Entry, slowly: bool, confirmation: Confirmation) -> Verdict:
        """Fresh processes of this night: they refute an accident, and confirm what is large or was there the night before."""
        if not confirmation.levels:
            why = f"{show_change(verdict.change or 0.0)}, {confirmation.reason or 'could not be measured again'}"
            return verdict.replace(outcome=_UNTIMED.get(confirmation.outcome or "", "suspect"), why=why)
        base = entry.golden.level if slowly and entry.golden else entry.level
        # The measurement that raised the suspicion is left out: it was picked for being unusual.
        level = median(confirmation.levels)
        # Of what crept, both are told against the golden entry: against the window either may have any sign.
        change, first = level - base, (verdict.level or 0.0) - base
        spread = ((verdict.high or 0.0) - (verdict.change or 0.0)) / _95
        low, high = change - _95 * spread, change + _95 * spread
        verdict = verdict.replace(change=change, low=low, high=high, level=level, confirmed_by="rerun")
        if not _repeats(change, first, self.limits):
            return verdict.replace(outcome="same", why=f"{show_change(first)} at first, which did not repeat in fresh processes")
        if self._strict(change, wary(entry, spread)):
            return verdict.replace(outcome=_direction(change), why=f"repeated in {len(confirmation.levels)} fresh processes")
        before = entry.pending
        if before is not None and self._both(before.level - base, change, wary(entry, spread) * paired(len(entry.window))):
            return verdict.replace(outcome=_direction(change), why=f"repeated, as on {before.at[:10]}")
        advice = "to be sure it must repeat the next night, or meet an old provider"
        return verdict.replace(outcome="suspect", why=f"{show_change(change)}, repeated in fresh processes; {advice}")

    def _both(self, before: float, change: float, spread: float) -> bool:
        """Whether two nights say together what one of them alone could not; `spread` is that of the mean of two."""
        return _repeats(before, change, self.limits) and abs(before + change) / 2 / spread > self.limits.strict_t


def _repeats(change: float, first: float, limits: Thresholds) -> bool:
    """Whether a change is one at all, and in the direction of the first."""
    return abs(change) > limits.least and (change > 0) == (first > 0)


def _by_duet(verdict: Verdict, found: Confirmation) -> Verdict:
    """The old provider beside the new one has the last word."""
    outcome = _DUETS.get(found.outcome or "", "suspect")
    if found.change is None:
        return verdict.replace(outcome=outcome, why=found.reason)
    pairs = f"{len(found.deltas)} pairs of old and new side by side"
    why = f"{pairs}; {found.reason}" if found.reason else pairs
    return verdict.replace(outcome=outcome, why=why, change=found.change, low=found.low, high=found.high, confirmed_by="duet")


def _direction(change: float) -> Outcome:
    return "regressed" if change > 0 else "improved"


def _day(entry: Entry) -> str:
    return entry.golden.at[:10] if entry.golden else "?"


def crept(night: Night, entry: Entry, t_golden: float | None, limits: Thresholds) -> float | None:
    """How far the last nights are from the golden level, where small slowdowns have added up to an alarm."""
    if entry.golden is None or t_golden is None:
        return None
    recent = median([one.level for one in entry.window[-(limits.learn - 1) :]] + [night.level]) - entry.golden.level
    alarm = cusum(entry.creep, t_golden, limits.creep_k) > limits.creep_h
    return recent if alarm and recent > limits.least else None


def doubted(verdict: Verdict, limits: Thresholds, duelling: bool) -> bool:
    """Whether another measurement is wanted: it stands on one that is unusual; or, where there is an old provider to ask, its
    change is usual for the case and large all the same."""
    large = verdict.outcome in ("same", "unstable") and abs(verdict.change or 0.0) > log1p(limits.strict_change)
    unusual = verdict.outcome in ("suspect", "regressed", "improved")
    return verdict.confirmed_by is None and (unusual or (duelling and large))
