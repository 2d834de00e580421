"""What the changes of a night cost what is served, in the gate's summary."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...units import show_count, show_number, show_share
from .differences import cost, delta, names, percent, signed

if TYPE_CHECKING:
    from ...serving.change.impact import Cost, Impact

#: More kernels than this say nothing more.
_FEW = 5


def gate_lines(name: str, found: "Impact") -> Iterator[str]:
    """What the confirmed changes of a night cost one configuration: the rates in one line, then what cost or gained most.

    Kernels that were not measured at their shape, and may not have changed by what the others say, are not counted.
    """
    given = found.configuration
    rates = f"{show_number(found.then.per_gpu)} -> {show_number(found.beyond.per_gpu)} tokens/s per GPU"
    share = percent(found.beyond.per_gpu / found.then.per_gpu - 1)
    rests = f"{show_share(found.measured)} of the step rests on measured times"
    if not found.own:
        rests = f"only ratios were measured, and not on {given.gpu.name}: its times are assumed"
    yield f"serving {name}: {rates} ({share}); {rests}"
    changed = [one for one in found.costs if one.change.value]
    yield from _felt([one for one in changed if one.rates.per_gpu and not one.change.noise])
    for said, some in (
        ("hidden behind the network, at no cost", [one for one in changed if one.hidden == 1]),
        ("within noise, not counted", [one for one in changed if one.change.noise and one.hidden < 1]),
    ):
        if some:
            told = ", ".join(f"{names(one.kernel)} {delta(one.change.value)}" for one in some[:_FEW])
            yield f"  {said}: {told}{f' and {len(some) - _FEW} more' if len(some) > _FEW else ''}"
    if not changed:
        yield "  no kernel of it is among those that regressed or improved"


def _felt(costs: Sequence["Cost"]) -> Iterator[str]:
    felt = sorted(costs, key=lambda one: -abs(one.rates.per_gpu))
    for one in felt[:_FEW]:
        origin = "" if one.change.origin == "measured" else f"; {one.change.why}"
        yield f"  {names(one.kernel)} {delta(one.change.value)}: {cost(one)} tokens/s per GPU{origin}"
    if len(felt) > _FEW:
        rest = signed(sum(one.rates.per_gpu for one in felt[_FEW:]))
        yield f"  {show_count(len(felt) - _FEW, 'more kernel')}, one by one: {rest} tokens/s per GPU"
