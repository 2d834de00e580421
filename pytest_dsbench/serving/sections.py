"""Sections: the layers of a configuration and what it does once, kernel by kernel and message by message, each with its price."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from ..hardware import Hardware
from ..record import Record
from ..units import show_rate
from . import schedule
from .configuration import Configuration
from .layer import Op, Pass, attention, dense, experts, head, joint, router, shared
from .price import links
from .price.assumed import Assumed
from .price.costs import column, times
from .price.efficiencies import Efficiencies, Source
from .price.nic import Nic
from .schedule import MICRO, Parts
from .tables import known_of, values

Block = Literal["dense", "moe", "head"]


class Term(Record):
    """One kernel, or one message, of one micro-batch in one layer."""

    name: str
    #: the part of the schedule that it belongs to, a field of Parts or "head"
    part: str
    seconds: float
    #: of a kernel max(FLOP / peak, bytes / bandwidth), of a message bytes / bandwidth of its link
    t_sol: float
    by: Literal["memory", "compute", "rdma", "nvlink"]
    #: t_sol / seconds, launches and latency left out
    efficiency: float
    source: Source
    why: str
    #: launches or latency, in `seconds`; 0 where a measured time holds them
    overhead: float
    bytes: float
    flop: float
    op: Op | None = None


class Section(Record):
    """Layers of one kind, or what a step does once: its terms, and what all of them take."""

    kind: Block
    #: how many of them a step has
    count: int
    #: whether they guess tokens ahead
    guess: bool
    terms: tuple[Term, ...]
    parts: Parts | None
    #: of one of them, for all micro-batches
    seconds: float
    #: parts that this time is made of; the others are hidden behind them
    exposed: frozenset[str]


class Prices:
    """Terms of kernels and of messages on one GPU."""

    def __init__(
        self, gpu: Hardware, assumed: Assumed, known: Efficiencies | None, revise: Callable[[Term], Term] | None
    ) -> None:
        self.gpu, self.assumed, self.known, self._revise = gpu, assumed, known, revise

    def kernels(self, ops: list[Op]) -> Iterator[Term]:
        """A term for each op."""
        found = known_of(ops, self.gpu, self.known)
        priced = column(ops)
        time = times(priced, self.gpu, self.assumed, values(found))
        for number, (op, one) in enumerate(zip(ops, found, strict=True)):
            seconds, t_sol = float(time.seconds[number]), float(time.t_sol[number])
            launches = 0.0 if one is not None else op.launches * self.assumed.number("time.launch")
            term = Term(
                name=op.name,
                part=op.stage,
                seconds=seconds,
                t_sol=t_sol,
                by="compute" if time.compute[number] > time.memory[number] else "memory",
                efficiency=t_sol / (seconds - launches) if seconds > launches else 0.0,
                source="assumed" if one is None else one.source,
                why=f"category {op.operator.category}" if one is None else one.why,
                overhead=launches,
                bytes=float(priced.bytes[number]),
                flop=float(priced.flop[:, number].sum()),
                op=op,
            )
            yield self._revise(term) if self._revise is not None else term

    def message(self, name: str, part: str, sent: links.Traffic, nic: Nic | None = None) -> Iterator[Term]:
        """A term for what goes over links, of which the longest counts; none where nothing does."""
        legs = list(links.legs(sent, self.gpu, nic, self.assumed))
        if not legs:
            return
        leg = max(legs, key=lambda one: float(one.seconds))
        yield Term(
            name=name,
            part=part,
            seconds=float(leg.seconds),
            t_sol=float(leg.bytes / leg.bandwidth),
            by=leg.kind,
            efficiency=self.assumed.number(f"link.{leg.kind}"),
            source="assumed",
            why=f"{nic.name if nic is not None and leg.kind == 'rdma' else 'link'} of {show_rate(leg.bandwidth, 'B/s')}",
            overhead=leg.latency,
            bytes=float(leg.bytes),
            flop=0.0,
        )


def sections(given: Configuration, seen: Pass, guess: bool, prices: Prices) -> Iterator[Section]:
    """The layers that a micro-batch passes through and what is done once, for what is seen or for one guess."""
    model, moe = given.model, given.model.moe
    front = list(prices.kernels(list(attention(model, seen))))
    across = links.exchanged(seen.together, model.hidden, seen.tp)
    front += prices.message("gather rows", "gather", across)
    front += prices.message("add up rows", "scatter", across)
    if (model.dense_layers and not guess) or moe is None:
        mlp = list(prices.kernels(list(dense(model, seen))))
        mlp += prices.message("gather rows of the MLP", "mlp", across)
        mlp += prices.message("add up rows of the MLP", "mlp", across)
        yield _layer(given, "dense", given.mtp if guess else model.dense_layers, guess, front + mlp)
    if moe is not None and given.split is not None:
        split, tokens = given.split, seen.tokens
        ops = [*router(model, moe, tokens), *shared(model, moe, tokens, seen.precision)]
        ops += experts(model, moe, tokens, split, seen.precision)
        terms = [*front, *prices.kernels(ops)]
        near, busy = links.domain(given.gpu), prices.assumed.number("imbalance.experts")
        for name, value in (("dispatch", seen.precision.dispatch_bytes), ("combine", 2.0)):
            sent = links.traffic(seen.tokens, moe, model.hidden, value, split.ep, near, seen.decode, busy)
            terms += prices.message(name, name, sent, given.nic)
        yield _layer(given, "moe", given.mtp if guess else model.moe_layers, guess, terms)
    ops = [*(joint(model, seen) if guess else ()), *head(model, seen)]
    terms = list(prices.kernels(ops))
    yield Section(
        kind="head",
        count=given.mtp if guess else 1,
        guess=guess,
        terms=tuple(terms),
        parts=None,
        seconds=MICRO[given.policy] * sum(term.seconds for term in terms),
        exposed=frozenset({"head"}),
    )


def _layer(given: Configuration, kind: Literal["dense", "moe"], count: int, guess: bool, terms: Sequence[Term]) -> Section:
    parts = Parts(**{name: sum(term.seconds for term in terms if term.part == name) for name in Parts.__struct_fields__})
    return Section(
        kind=kind,
        count=count,
        guess=guess,
        terms=tuple(terms),
        parts=parts,
        seconds=float(schedule.layer(parts, given.policy, moe=kind == "moe")),
        exposed=schedule.exposed(parts, given.policy, moe=kind == "moe"),
    )
