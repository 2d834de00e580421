"""Schedules: what of a layer waits for what, with one or two micro-batches. Works on numbers and on columns of them.

A GPU has two lanes: its kernels one after the other, and the network, which needs no multiprocessor in decode.

naive: one micro-batch; only the shared experts run beside the network.

    attention in, attention out, router | dispatch beside shared | experts | combine

dual: two micro-batches A and B, each half; while the network carries A, the kernels work on B, and then the other way round.

    dispatch A beside (shared A, attention in B) | experts A | combine A beside (attention out B, router B), then A and B change
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from ..record import Record
from .model.architecture import Architecture

Policy = Literal["naive", "dual"]
POLICIES: tuple[Policy, ...] = ("naive", "dual")
#: Micro-batches of a policy.
MICRO: dict[Policy, int] = {"naive": 1, "dual": 2}


class Parts(Record):
    """What one micro-batch takes in one layer, seconds."""

    #: rows of the GPUs that share the heads, gathered in front of the projections and added up behind them
    gather: Any = 0.0
    attention_in: Any
    attention_out: Any
    scatter: Any = 0.0
    router: Any = 0.0
    shared: Any = 0.0
    dispatch: Any = 0.0
    experts: Any = 0.0
    combine: Any = 0.0
    #: of a dense layer
    mlp: Any = 0.0


#: Names of parts that run one after the other, and of those that run beside them.
Window = tuple[tuple[str, ...], tuple[str, ...]]

_IN, _OUT = ("gather", "attention_in"), ("attention_out", "scatter", "router")
_MOE: dict[Policy, tuple[Window, ...]] = {
    "naive": ((_IN, ()), (_OUT, ()), (("shared",), ("dispatch",)), (("experts",), ()), ((), ("combine",))),
    "dual": ((("shared", *_IN), ("dispatch",)), (("experts",), ()), (_OUT, ("combine",))),
}
_DENSE: tuple[Window, ...] = ((_IN, ()), (("attention_out", "scatter"), ()), (("mlp",), ()))


def windows(policy: Policy, moe: bool) -> tuple[Window, ...]:
    """The windows of one micro-batch in one layer, in order: kernels, and what the network carries beside them."""
    return _MOE[policy] if moe else _DENSE


def layer(parts: Parts, policy: Policy, moe: bool) -> Any:
    """Seconds of one layer for all micro-batches: of each window its longer lane."""
    longest = (np.maximum(_sum(parts, kernels), _sum(parts, network)) for kernels, network in windows(policy, moe))
    return MICRO[policy] * sum(longest)


def exposed(parts: Parts, policy: Policy, moe: bool) -> frozenset[str]:
    """The parts that the layer's time is made of: those of the longer lane of each window. What is hidden costs nothing."""
    found: set[str] = set()
    for kernels, network in windows(policy, moe):
        found |= set(kernels if _sum(parts, kernels) >= _sum(parts, network) else network)
    return frozenset(found)


def _sum(parts: Parts, names: tuple[str, ...]) -> Any:
    return sum((getattr(parts, name) for name in names), start=0.0)


class Blocks(Record):
    """What one micro-batch takes in each kind of layer and around them."""

    #: None where the model has no such layer
    dense: Parts | None
    moe: Parts | None
    head: Any
    #: what joins a guessed token to the layer that guesses the next
    joint: Any = 0.0


def step(model: Architecture, policy: Policy, mtp: int, seen: Blocks, guessed: Blocks | None, host: float) -> Any:
    """Seconds of a step: all layers and the head over what is seen, then a layer and the head for each guess, and the host."""
    found = host + _layers(model.dense_layers, model.moe_layers, seen, policy) + MICRO[policy] * seen.head
    if guessed is not None:
        moe = int(model.moe is not None)
        each = _layers(1 - moe, moe, guessed, policy) + MICRO[policy] * (guessed.head + guessed.joint)
        found = found + mtp * each
    return found


def _layers(dense: int, moe: int, blocks: Blocks, policy: Policy) -> Any:
    found: Any = 0.0
    if dense and blocks.dense is not None:
        found = found + dense * layer(blocks.dense, policy, moe=False)
    if moe and blocks.moe is not None:
        found = found + moe * layer(blocks.moe, policy, moe=True)
    return found


class Span(Record):
    """One bar of a timeline, seconds from the start of the layer."""

    lane: Literal["kernels", "network"]
    part: str
    #: 0 and 1: which micro-batch it works on
    micro: int
    start: float
    seconds: float


def timeline(parts: Parts, policy: Policy, moe: bool) -> Iterator[Span]:
    """The bars of one layer in the steady state, every micro-batch once."""
    start = 0.0
    for micro in range(MICRO[policy]):
        for kernels, network in windows(policy, moe):
            now = start
            for name in kernels:
                yield Span(
                    lane="kernels", part=name, micro=_whose(name, micro, policy, moe), start=now, seconds=getattr(parts, name)
                )
                now += getattr(parts, name)
            beside = start
            for name in network:
                yield Span(lane="network", part=name, micro=micro, start=beside, seconds=getattr(parts, name))
                beside += getattr(parts, name)
            start = max(now, beside)


def _whose(name: str, micro: int, policy: Policy, moe: bool) -> int:
    """In the dual schedule attention belongs to the other micro-batch than the one the network carries."""
    return 1 - micro if policy == "dual" and moe and name in (*_IN, *_OUT) else micro
