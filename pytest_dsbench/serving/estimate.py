"""Estimate: one configuration in full. Every kernel and every message with what it takes and where its efficiency comes from.

The same kernels, prices and schedule as `grid.evaluate`, whose numbers it explains.
"""

from collections.abc import Callable, Iterable, Iterator
from math import ceil

from ..record import Record
from . import capacity, schedule
from .capacity import Need
from .configuration import Configuration
from .grid import busiest, gained
from .layer import Pass
from .price.assumed import Assumed
from .price.efficiencies import Efficiencies, Source
from .schedule import MICRO, Blocks, Parts
from .sections import Prices, Section, Term, sections


class Estimate(Record):
    """What a configuration reaches."""

    configuration: Configuration
    #: keys that each sequence sees on the GPU that all others wait for
    context: int
    sections: tuple[Section, ...]
    #: host's share of a step, and the whole step, seconds
    host: float
    step: float
    #: tokens that a step adds to a sequence; in prefill the prompt
    gained: float
    need: Need
    #: bytes that may be used on one GPU; None where the sheet has no memory
    usable: float | None

    @property
    def user(self) -> float:
        """Tokens/s of one sequence."""
        return self.gained / self.step

    @property
    def per_gpu(self) -> float:
        """Tokens/s of one GPU."""
        return self.configuration.batch * self.user

    @property
    def fits(self) -> bool:
        """Whether weights, cache and activations fit."""
        return self.usable is None or self.need.total <= self.usable

    def repeats(self, section: Section) -> int:
        """How often a step runs what one micro-batch runs in a section."""
        return section.count * MICRO[self.configuration.policy]

    def exposed(self) -> Iterator[tuple[Term, float]]:
        """Every term with its seconds of the step: 0 of what is hidden."""
        for section in self.sections:
            for term in section.terms:
                yield term, self.repeats(section) * term.seconds if term.part in section.exposed else 0.0

    def share(self, *sources: Source) -> float:
        """The share of the step's time that rests on efficiencies of these sources; hidden terms have none of it."""
        return sum(seconds for term, seconds in self.exposed() if term.source in sources) / self.step


def estimate(
    given: Configuration,
    assumed: Assumed,
    known: Efficiencies | None = None,
    revise: Callable[[Term], Term] | None = None,
) -> Estimate:
    """`revise` may change what a kernel takes: what would be if it were faster. Raises Mistake where a link is not on a sheet."""
    model, policy, gpu = given.model, given.policy, given.gpu
    context = busiest(given.context, assumed, given.decode)
    sequences = ceil(given.batch / MICRO[policy])
    new = 1 + given.mtp if given.decode else given.context

    def passed(queries: int, guess: bool) -> list[Section]:
        seen = Pass(
            sequences=sequences,
            queries=queries,
            context=max(context, queries),
            tp=given.tp,
            precision=given.precision,
            decode=given.decode,
        )
        return list(sections(given, seen, guess, Prices(gpu, assumed, known, revise)))

    seen = passed(new, guess=False)
    guessed = passed(1, guess=True) if given.mtp else []
    host = assumed.number("time.step")
    return Estimate(
        configuration=given,
        context=context,
        sections=(*seen, *guessed),
        host=host,
        step=float(schedule.step(model, policy, given.mtp, _blocks(seen), _blocks(guessed) if guessed else None, host)),
        gained=gained(given.mtp, assumed.number("guess.acceptance")) if given.decode else float(given.context),
        need=capacity.need(
            model,
            tp=given.tp,
            split=given.split,
            precision=given.precision,
            mtp=given.mtp,
            batch=given.batch,
            context=context,
            tokens=sequences * new,
            sampled=sequences * (new if given.decode else 1),
        ),
        usable=None if gpu.memory is None else gpu.memory * assumed.number("memory.usable"),
    )


def _blocks(found: Iterable[Section]) -> Blocks:
    """One micro-batch of each section, as the schedule takes them."""
    parts: dict[str, Parts | None] = {}
    once = 0.0
    for section in found:
        if section.kind == "head":
            once = sum(term.seconds for term in section.terms)
        else:
            parts[section.kind] = section.parts
    return Blocks(dense=parts.get("dense"), moe=parts.get("moe"), head=once)
