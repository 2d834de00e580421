"""Grounds: what an estimate rests on. Which assumption prices which part of its step, and which ones give its sizes.

Only what is exposed is counted: what is hidden adds nothing to a step, so that nothing of the step rests on it.
"""

from collections.abc import Iterator
from math import isclose

from ..hardware import Hardware
from ..record import Record
from .estimate import Estimate
from .price.assumed import Assumed
from .price.costs import rate
from .sections import Term


class Ground(Record):
    """One assumption that was used."""

    #: as `--assume` takes it
    name: str
    value: float | str
    #: of the step, what it prices; None of what enters sizes and rates
    seconds: float | None


def pricing(term: Term, gpu: Hardware, assumed: Assumed) -> str | None:
    """The name of the assumption that a term's efficiency is; None where it was measured."""
    if term.op is None:
        return f"link.{term.by}"
    return f"{_category(term, assumed)}.{_priced_by(term, gpu, assumed)}" if term.source == "assumed" else None


def partial(term: Term, gpu: Hardware, assumed: Assumed) -> bool:
    """Whether tiles that are not full make a term longer."""
    if term.op is None or not term.op.rows or not _computed(term, gpu, assumed):
        return False
    return term.op.rows % assumed.number("tile.rows") != 0


def softmax(term: Term, gpu: Hardware, assumed: Assumed) -> bool:
    """Whether the softmax of attention takes longer than its products can hide."""
    if term.op is None or not term.op.scores or not _computed(term, gpu, assumed):
        return False
    products = sum(count / rate(gpu, unit) for unit, count in term.op.work().flop.items())
    products /= assumed.efficiency(term.op.operator.category, "compute")
    return term.seconds - term.overhead > products * (1 + 1e-6)


def grounds(found: Estimate, assumed: Assumed) -> tuple[Ground, ...]:
    """Every assumption that was used: those that price the step, most of it first; then those that give sizes and rates."""
    priced = dict(_priced(found, assumed))
    prices = [Ground(name=name, value=assumed.values[name], seconds=seconds) for name, seconds in priced.items()]
    sizes = [Ground(name=name, value=_value(name, assumed), seconds=None) for name in dict.fromkeys(_sizes(found, assumed))]
    return (*sorted(prices, key=lambda one: -(one.seconds or 0.0)), *sizes)


def _priced(found: Estimate, assumed: Assumed) -> Iterator[tuple[str, float]]:
    sums: dict[str, float] = {"time.step": found.host}
    gpu, nic = found.configuration.gpu, found.configuration.nic
    for term, seconds in found.exposed():
        share = term.overhead / term.seconds if term.seconds else 0.0
        name = pricing(term, gpu, assumed)
        if name is not None:
            sums[name] = sums.get(name, 0.0) + seconds * (1 - share)
        late = "time.launch" if term.op is not None else f"link.{term.by}_latency"
        # A latency that the NIC's own sheet has is no assumption.
        if term.overhead and not (term.by == "rdma" and nic is not None and nic.latency is not None):
            sums[late] = sums.get(late, 0.0) + seconds * share
    yield from sums.items()


def _sizes(found: Estimate, assumed: Assumed) -> Iterator[str]:
    given = found.configuration
    terms = [term for section in found.sections for term in section.terms]
    if any(partial(term, given.gpu, assumed) for term in terms):
        yield "tile.rows"
    attention = [term for term in terms if term.op is not None and term.op.scores and _computed(term, given.gpu, assumed)]
    if attention and given.gpu.driver is not None and given.gpu.sms:
        yield f"pipeline.{given.gpu.driver.capability}"
        if any(softmax(term, given.gpu, assumed) for term in attention):
            yield "exp.per_clock"
    if given.split is not None and given.split.ep > 1:
        yield "imbalance.experts"
    if given.decode:
        yield "imbalance.context"
    if given.mtp:
        yield "guess.acceptance"
    if found.usable is not None:
        yield "memory.usable"


def _value(name: str, assumed: Assumed) -> float | str:
    # Of a compute capability that is not known attention is taken to do one thing after the other.
    return assumed.pipeline(name.removeprefix("pipeline.")) if name.startswith("pipeline.") else assumed.values[name]


def _category(term: Term, assumed: Assumed) -> str:
    assert term.op is not None
    own = f"efficiency.{term.op.operator.category}"
    return own if f"{own}.memory" in assumed.values else "efficiency.other"


def _priced_by(term: Term, gpu: Hardware, assumed: Assumed) -> str:
    """Which of its two efficiencies counts; not always that of what bounds T_SOL: tiles and the softmax come in between."""
    assert term.op is not None
    memory = term.bytes / gpu.bandwidth / assumed.efficiency(term.op.operator.category, "memory")
    return "memory" if isclose(term.seconds - term.overhead, memory, rel_tol=1e-6) else "compute"


def _computed(term: Term, gpu: Hardware, assumed: Assumed) -> bool:
    return term.source == "assumed" and _priced_by(term, gpu, assumed) == "compute"
