"""Impact: what the changes of kernels cost in time of a layer and a step, and in tokens/s.

A kernel takes exp(change) times what it took then; the schedule says what of that a layer feels. Seconds, tokens/s.
"""

from collections.abc import Callable, Iterator, Mapping
from math import exp

from ...dims import describe
from ...operator import Operator
from ...record import Record
from .. import schedule
from ..estimate import Block, Configuration, Estimate, Section, Term, estimate
from ..layer import Op
from ..price.assumed import Assumed
from ..price.efficiencies import Efficiencies, Source
from ..schedule import MICRO
from .changes import Change, Changes, Origin


class Rates(Record):
    """What a configuration reaches: seconds of a step, tokens/s of one sequence and of one GPU."""

    step: float
    user: float
    per_gpu: float

    def less(self, then: "Rates") -> "Rates":
        """The difference to what was then."""
        return Rates(step=self.step - then.step, user=self.user - then.user, per_gpu=self.per_gpu - then.per_gpu)


class Kernel(Record):
    """One kernel of a configuration, in all layers that have it at the same dimensions."""

    #: what the layers call it
    names: tuple[str, ...]
    operator: Operator
    #: operator[dimensions]
    shape: str
    #: seconds of one, T_SOL and what of its time is launches, as in Term
    seconds: float
    t_sol: float
    overhead: float
    source: Source
    why: str
    #: seconds of all of them in a step, hidden or not; and those that the step is made of
    together: float
    exposed: float
    #: what the network carries beside it: the parts of the layer that may hide it
    beside: tuple[str, ...]


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


def rates(found: Estimate) -> Rates:
    """The rates of an estimate."""
    return Rates(step=found.step, user=found.user, per_gpu=found.per_gpu)


def ops(found: Estimate) -> dict[Operator, Op]:
    """The kernels of an estimate as the layers have them, by their operator."""
    return {term.op.operator: term.op for section in found.sections for term in section.terms if term.op is not None}


def kernels(found: Estimate) -> dict[Operator, Kernel]:
    """The kernels of an estimate, those of the same operator at the same dimensions put together."""
    groups: dict[Operator, list[tuple[Section, Term]]] = {}
    for section in found.sections:
        for term in section.terms:
            if term.op is not None:
                groups.setdefault(term.op.operator, []).append((section, term))
    policy = found.configuration.policy
    return {operator: _kernel(operator, group, policy) for operator, group in groups.items()}


def _kernel(operator: Operator, group: list[tuple[Section, Term]], policy: schedule.Policy) -> Kernel:
    first = group[0][1]
    times = [(section.count * MICRO[policy] * term.seconds, term.part in section.exposed) for section, term in group]
    beside = [name for section, term in group for name in carried(section, term, policy)]
    return Kernel(
        names=tuple(dict.fromkeys(term.name for _, term in group)),
        operator=operator,
        shape=f"{operator.name}[{describe(operator)}]",
        seconds=first.seconds,
        t_sol=first.t_sol,
        overhead=first.overhead,
        source=first.source,
        why=first.why,
        together=sum(seconds for seconds, _ in times),
        exposed=sum(seconds for seconds, shown in times if shown),
        beside=tuple(dict.fromkeys(beside)),
    )


def carried(section: Section, term: Term, policy: schedule.Policy) -> tuple[str, ...]:
    """What the network carries in the window of a kernel."""
    if section.kind == "head":
        return ()
    windows = schedule.windows(policy, moe=section.kind == "moe")
    return next((network for names, network in windows if term.part in names), ())


def slower(ratios: Mapping[Operator, float]) -> Callable[[Term], Term]:
    """Changes what some kernels take."""

    def revise(term: Term) -> Term:
        ratio = ratios.get(term.op.operator, 1.0) if term.op is not None else 1.0
        return term if ratio == 1.0 else term.replace(seconds=term.seconds * ratio, efficiency=term.efficiency / ratio)

    return revise


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


def share_hidden(felt: float, longer: float) -> float:
    """The share of a change that the step does not feel; what is left by rounding is none."""
    if not longer:
        return 0.0
    share = 1 - felt / longer
    return 0.0 if share < 1e-6 else 1.0 if share > 1 - 1e-6 else share
