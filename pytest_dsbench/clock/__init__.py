"""The sampling loop both clocks share: batches until the median is known well enough, or a cap is reached."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, Protocol

from ..operator import Inputs
from ..provider import Launch
from ..record import Record
from ..stats import estimate

#: Names of time functions are taken when this module is loaded, so that a kernel's library cannot replace them later.
now = perf_counter

#: How a GPU is timed; "auto" takes the graph for calls so short that the events would show.
Mode = Literal["auto", "events", "graph"]


#: No cap ends sampling before this many samples: one sample has no interval, and may be the one that was interrupted.
_FEWEST = 3


class StopRule(Record):
    """When a case has been measured well enough. Times in seconds."""

    #: samples before precision is looked at
    least: int
    #: half-width of the 95 % interval of the median, as a share of it, that ends sampling
    precision: float = 0.005
    #: caps: samples, time spent inside samples, time of the whole loop
    samples: int = 3000
    busy: float
    wall: float


@dataclass(frozen=True)
class Batch:
    """Some samples that are accepted or discarded together."""

    #: seconds per call
    seconds: list[float]
    #: time spent inside the samples
    busy: float
    #: why this batch must not count, if so
    discard: str | None = None


@dataclass
class Samples:
    """What a clock returns: the accepted samples, and what happened to the others."""

    #: how they were really taken: "cpu", "events" or "graph"; part of a result's identity
    mode: str = ""
    seconds: list[float] = field(default_factory=list)
    stopped_by: str = ""
    batches: int = 0
    discarded: dict[str, int] = field(default_factory=dict)
    #: the samples of discarded batches: all there is to show when a host was too noisy to accept any
    rejected: list[float] = field(default_factory=list)
    #: true where the host could not enqueue fast enough: an operator's time, not a kernel's
    host_bound: bool = False
    #: sentences for the reader of the result, such as why a graph could not be captured
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Buffers:
    """One set of inputs the timed launches rotate over."""

    #: which of the two input contents it holds
    content: int
    launch: Launch
    #: brings inputs that the launch overwrites back; None where it overwrites none
    restore: Callable[[], Any] | None = None
    #: the tensors the launch reads, by name
    inputs: Inputs = field(default_factory=dict)


class Plan(Protocol):
    """What a clock times: buffer sets to rotate over, and a place to hand some of the timed outputs for checking."""

    sets: Sequence[Buffers]
    random: random.Random
    #: how it must be timed on a GPU; None leaves that to the clock
    mode: Mode | None

    def verify(self, content: int, outputs: Any) -> None:
        """Checks one output of a timed call; raises when it is wrong."""


#: Draws batches by a stop rule, from a clock whose mode is the last argument.
Collect = Callable[[Callable[[], Batch], StopRule, str], Samples]


class Clock(Protocol):
    """Times the launches of one case on one kind of device."""

    def time(self, plan: Plan) -> Samples:
        """Warm-up, then samples until the stop rule is satisfied."""


def choose(plan: Plan, count: int) -> list[Buffers]:
    """The buffer sets of `count` calls, in random order, so that neither content nor address can be foreseen."""
    order = plan.random.sample(plan.sets, len(plan.sets))
    return [order[i % len(order)] for i in range(count)]


def collect(batch: Callable[[], Batch], rule: StopRule, mode: str = "") -> Samples:
    """Draws batches until `rule` is satisfied. The statistic that stops is the one reported: the median with its interval."""
    got = Samples(mode=mode)
    busy, start = 0.0, now()
    while not got.stopped_by:
        drawn = batch()
        got.batches += 1
        busy += drawn.busy
        if drawn.discard is None:
            got.seconds += drawn.seconds
        else:
            got.rejected += drawn.seconds
            got.discarded[drawn.discard] = got.discarded.get(drawn.discard, 0) + 1
        enough = len(got.seconds) + len(got.rejected) >= _FEWEST
        got.stopped_by = _reason(got.seconds, rule, busy, now() - start) if enough else ""
    return got


def _reason(seconds: list[float], rule: StopRule, busy: float, wall: float) -> str:
    if len(seconds) >= rule.least and estimate(seconds, "precise").half_width <= rule.precision:
        return "precise"
    if len(seconds) >= rule.samples:
        return "samples"
    if busy >= rule.busy:
        return "device time"
    return "wall time" if wall >= rule.wall else ""
