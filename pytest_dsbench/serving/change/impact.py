"""Impact: what the changes of kernels cost in time of a layer and a step, and in tokens/s.

A kernel takes exp(change) times what it took then; the schedule says what of that a layer feels. Seconds, tokens/s.
"""

from collections.abc import Iterator, Mapping
from math import exp

from ...operator import Operator
from ...record import Record
from ..configuration import Configuration
from ..estimate import Estimate, estimate
from ..price.assumed import Assumed
from ..price.efficiencies import Efficiencies
from ..sections import Block
from .changes import Change, Changes, Origin
from .kernels import Kernel, Rates, kernels, ops, rates, share_hidden, slower


class Layer(Record):
    """One layer of a kind that has the kernel, seconds of all micro-batches."""

    kind: Block
    guess: bool
    count: int
    then: float
    now: float


class Cost(Record):
    """What the change of one kernel alone does; differences to what was then."""

    kernel: Kernel
    change: Change
    #: seconds of one kernel now
    now: float
    layers: tuple[Layer, ...]
    rates: Rates
    #: tokens/s of one GPU at the ends of the interval: at its lower end, where the kernel is fastest, first
    low: float | None
    high: float | None
    #: the share of its change that other work hides
    hidden: float


class Impact(Record):
    """What all changes cost, together and one by one."""

    configuration: Configuration
    then: Rates
    now: Rates
    #: with the changes alone that are beyond noise; and with all of those at one end of their intervals
    beyond: Rates
    low: Rates
    high: Rates
    #: of each kernel that changed or may have, the most expensive first
    costs: tuple[Cost, ...]
    #: kernels of which nothing was measured, taken as unchanged
    unknown: tuple[Cost, ...]
    #: share of the step then that rests on measured times
    measured: float
    #: share of the step then whose change was measured, interpolated, assumed as other shapes and not measured at all
    shares: dict[Origin, float]
    #: whether the kernels' times then are those that were measured; else only ratios were carried over
    own: bool


def impact(given: Configuration, assumed: Assumed, changes: Changes, own: bool) -> Impact:
    """What the changes cost. `own`: they were measured on the GPU of the configuration, so that their times hold there too."""
    known = changes.efficiencies(given.gpu, "then") if own else None
    return _Costs(given, assumed, changes, known).impact(own)


class _Costs:
    """Estimates of one configuration with some kernels slower or faster."""

    def __init__(self, given: Configuration, assumed: Assumed, changes: Changes, known: Efficiencies | None) -> None:
        self._given, self._assumed, self._known = given, assumed, known
        self._then = estimate(given, assumed, known)
        self._kernels = kernels(self._then)
        self._changes = {operator: changes.of(op) for operator, op in ops(self._then).items()}

    def impact(self, own: bool) -> Impact:
        """All of it."""
        costs = [self._cost(kernel, self._changes[operator]) for operator, kernel in self._kernels.items()]
        told = [one for one in costs if one.change.origin != "not measured"]
        beyond = {operator: one for operator, one in self._changes.items() if one.value and not one.noise}
        return Impact(
            configuration=self._given,
            then=rates(self._then),
            now=self._with({operator: one.value for operator, one in self._changes.items()}),
            beyond=self._with({operator: one.value for operator, one in beyond.items()}),
            low=self._with({operator: _or(one.low, one.value) for operator, one in beyond.items()}),
            high=self._with({operator: _or(one.high, one.value) for operator, one in beyond.items()}),
            costs=tuple(sorted(told, key=lambda one: (one.rates.per_gpu, -abs(one.change.value)))),
            unknown=tuple(sorted((one for one in costs if one not in told), key=lambda one: -one.kernel.exposed)),
            measured=self._then.share("measured", "interpolated"),
            shares=self._shares(),
            own=own,
        )

    def _with(self, changes: Mapping[Operator, float]) -> Rates:
        return rates(self._again(changes))

    def _again(self, changes: Mapping[Operator, float]) -> Estimate:
        ratios = {operator: exp(change) for operator, change in changes.items()}
        return estimate(self._given, self._assumed, self._known, slower(ratios))

    def _cost(self, kernel: Kernel, change: Change) -> Cost:
        operator, then = kernel.operator, rates(self._then)
        found = self._again({operator: change.value})
        alone = rates(found).less(then)
        ends = [None if end is None else self._with({operator: end}).less(then).per_gpu for end in (change.low, change.high)]
        longer = kernel.together * (exp(change.value) - 1)
        return Cost(
            kernel=kernel,
            change=change,
            now=kernel.seconds * exp(change.value),
            layers=tuple(self._layers(operator, found)),
            rates=alone,
            low=ends[0],
            high=ends[1],
            hidden=share_hidden(alone.step, longer),
        )

    def _layers(self, operator: Operator, found: Estimate) -> Iterator[Layer]:
        for then, now in zip(self._then.sections, found.sections, strict=True):
            if any(term.op is not None and term.op.operator == operator for term in then.terms):
                yield Layer(kind=then.kind, guess=then.guess, count=then.count, then=then.seconds, now=now.seconds)

    def _shares(self) -> dict[Origin, float]:
        found: dict[Origin, float] = dict.fromkeys(("measured", "interpolated", "other shapes", "not measured"), 0.0)
        for operator, kernel in self._kernels.items():
            found[self._changes[operator].origin] += kernel.exposed / self._then.step
        return found


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
