"""Verdict: what the gate says of one case, and what confirmed it."""

from typing import Literal

from .measurement import VERSION, Planned
from .record import Record

Outcome = Literal[
    "same",
    "improved",
    "regressed",
    "suspect",
    "unstable",
    "learning",
    "noisy_host",
    "throttled",
    "environment",
    "invalid",
    "crashed",
    "timed_out",
    "new",
    "missing",
    "not_run",
]

#: What fails a run: exit code 1.
ALARMS: tuple[Outcome, ...] = ("regressed", "invalid", "crashed", "timed_out", "missing")
#: What could not be judged because of where it ran.
UNFIT: tuple[Outcome, ...] = ("environment", "noisy_host", "throttled")


How = Literal["duet", "rerun", "self"]


class Confirmation(Record, tag_field="kind", tag="confirmation"):
    """What was measured to confirm or refute a suspicion about one case, in fresh processes."""

    v: int = VERSION
    case: Planned
    #: "duet" with an old provider, "rerun" without one, "self" for a duet of a provider with itself
    how: How
    #: of a re-run: ln of each process's median time over its anchor
    levels: tuple[float, ...] = ()
    #: of a duet: ln(new / old) of each pair of processes, their median and its 95 % interval, and what it says
    deltas: tuple[float, ...] = ()
    change: float | None = None
    low: float | None = None
    high: float | None = None
    outcome: str | None = None
    #: why there is no figure, or what else there is to say
    reason: str | None = None


class Verdict(Record, tag_field="kind", tag="verdict"):
    """The gate's word on one case. Changes are ln(now / then): positive is slower."""

    v: int = VERSION
    case: Planned
    outcome: Outcome
    #: one sentence, where the outcome does not say it all
    why: str | None = None
    #: medians in seconds, then (of the window) and now
    then: float | None = None
    now: float | None = None
    #: T_SOL / T, then and now
    efficiency_then: float | None = None
    efficiency_now: float | None = None
    #: T_SOL in seconds
    t_sol: float | None = None
    #: after the anchors were allowed for, with its 95 % interval
    change: float | None = None
    low: float | None = None
    high: float | None = None
    #: a larger change than this is looked into
    allowed: float | None = None
    #: the smallest slowdown that is found in four of five nights
    mde: float | None = None
    #: accepted nights it was judged by, and how many it takes
    nights: int = 0
    needed: int = 0
    confirmed_by: Literal["duet", "rerun"] | None = None
    #: what else is not as it was, such as "triton 3.5.0 -> 3.6.0"
    changed: tuple[str, ...] = ()
    #: anchor-corrected ln T of this night, or of the fresh processes that confirmed it
    level: float | None = None
    #: t of this night against the window and against the golden entry
    t: float | None = None
    t_golden: float | None = None
    #: how far the last nights are above the golden level, where small slowdowns have added up
    crept: float | None = None

    @property
    def alarm(self) -> bool:
        """Whether it fails the run."""
        return self.outcome in ALARMS

    @property
    def title(self) -> str:
        """The outcome as it is shown: "learning 3/5" where it is that."""
        words = self.outcome.replace("_", " ")
        return f"{words} {self.nights}/{self.needed}" if self.outcome == "learning" else words
