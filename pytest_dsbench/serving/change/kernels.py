"""Kernels: those of an estimate, each once wherever layers have it, and estimates with some of them slower or faster."""

from collections.abc import Callable, Mapping

from ...dims import describe
from ...operator import Operator
from ...record import Record
from .. import schedule
from ..estimate import Estimate
from ..layer import Op
from ..price.efficiencies import Source
from ..sections import Section, Term


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
    return {operator: _kernel(operator, group, found) for operator, group in groups.items()}


def _kernel(operator: Operator, group: list[tuple[Section, Term]], found: Estimate) -> Kernel:
    first = group[0][1]
    times = [(found.repeats(section) * term.seconds, term.part in section.exposed) for section, term in group]
    beside = [name for section, term in group for name in carried(section, term, found.configuration.policy)]
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


def share_hidden(felt: float, longer: float) -> float:
    """The share of a change that the step does not feel; what is left by rounding is none."""
    if not longer:
        return 0.0
    share = 1 - felt / longer
    return 0.0 if share < 1e-6 else 1.0 if share > 1 - 1e-6 else share
