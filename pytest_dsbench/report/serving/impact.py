"""What the changes of kernels cost in tokens/s, as text, as markdown and as CSV."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...textfile import csv_of
from ...units import show_number, show_seconds, show_share
from .differences import cost, delta, laid_out, names, percent, signed
from .words import layout, load, part, title

if TYPE_CHECKING:
    from ...serving.change.impact import Cost, Impact
    from ...serving.change.kernels import Rates
    from ...serving.configuration import Configuration

_RATES = ("", "tokens/s per GPU", "per user", "step")
_HEAD = (
    "kernel",
    "shape",
    "T then",
    "T now",
    "change",
    "95 % interval",
    "a layer",
    "tokens/s per GPU",
    "share",
    "per user",
    "remarks",
)
#: A kernel within noise whose change would be a smaller share of the tokens/s has no line of its own.
_LITTLE = 5e-4
#: In words, how the change of a kernel is known.
_ORIGINS = {
    "measured": "measured at its own shape",
    "interpolated": "interpolated between shapes",
    "other shapes": "assumed to be that of the operator's other shapes",
    "not measured": "not known and taken as none",
}
_COST_COLUMNS = (
    "kernel",
    "shape",
    "then_s",
    "now_s",
    "change",
    "low",
    "high",
    "known",
    "within_noise",
    "hidden_share",
    "layer_s",
    "step_s",
    "tokens_per_s_per_gpu",
    "tokens_per_s_per_gpu_low",
    "tokens_per_s_per_gpu_high",
    "user_tokens_per_s",
    "why",
)


def configuration_lines(given: "Configuration", fullest: int) -> list[str]:
    """Which configuration was taken."""
    return [title(given), f"  {layout(given)}", f"  {load(given, fullest)}"]


def impact_lines(found: "Impact", style: str = "text", everything: bool = False) -> Iterator[str]:
    """The rates then and now, every kernel whose change is known, and what is not known."""
    yield from laid_out(_RATES, _rates(found), style, 1)
    yield ""
    shown = [one for one in found.costs if everything or _worth_a_line(one, found.then)]
    if shown:
        yield from laid_out(_HEAD, [_row(one, found.then) for one in shown], style, 2)
        yield ""
    if not found.costs:
        yield "no kernel of this configuration was measured then and now"
    if little := [one for one in found.costs if one not in shown]:
        together = signed(sum(one.rates.per_gpu for one in little))
        those = ", ".join(names(one.kernel) for one in little)
        yield f"within noise, {together} tokens/s per GPU one by one (-v shows each): {those}"
    yield from _sum(found)
    yield from _known(found)


def _worth_a_line(one: "Cost", then: "Rates") -> bool:
    change = one.change
    unchanged = not change.value or change.noise
    return not unchanged or abs(one.rates.per_gpu) >= _LITTLE * then.per_gpu


def _rates(found: "Impact") -> Iterator[list[str]]:
    yield ["then", show_number(found.then.per_gpu), show_number(found.then.user), show_seconds(found.then.step)]
    yield ["now", *_beside(found.now, found.then)]
    if any(one.change.noise and one.change.value for one in found.costs):
        yield ["with the changes beyond noise alone", *_beside(found.beyond, found.then)]


def _beside(now: "Rates", then: "Rates") -> list[str]:
    pairs = ((now.per_gpu, then.per_gpu, show_number), (now.user, then.user, show_number), (now.step, then.step, show_seconds))
    return [f"{show(value)} ({percent(value / before - 1)})" for value, before, show in pairs]


def _sum(found: "Impact") -> Iterator[str]:
    """What of the change is certain, and that one by one is not together."""
    beyond = [one for one in found.costs if one.change.value and not one.change.noise]
    if beyond and (found.low != found.beyond or found.high != found.beyond):
        ends = sorted(end.per_gpu / found.then.per_gpu - 1 for end in (found.low, found.high))
        yield f"beyond noise: {percent(ends[0])} to {percent(ends[1])}, all of them at one end of their 95 % intervals"
    alone, together = sum(one.rates.per_gpu for one in found.costs), found.now.per_gpu - found.then.per_gpu
    if abs(alone - together) > 0.02 * max(abs(alone), abs(together)) and abs(alone) > 0.05:
        both = f"one by one they make {signed(alone)} tokens/s per GPU, together {signed(together)}"
        yield f"{both}: rates do not add up, and what one hides behind changes with the others"


def _known(found: "Impact") -> Iterator[str]:
    """How much of the step was compared, and how much of it was measured at all."""
    parts = [f"{show_share(share)} {_ORIGINS[origin]}" for origin, share in found.shares.items() if share]
    rest = 1 - sum(found.shares.values())
    yield f"the step then, by how the change is known: {', '.join(parts)}; {show_share(rest)} is the network and the host"
    based = f"{show_share(found.measured)} of the step rests on times that were measured" if found.own else ""
    yield based or "all times of the step are assumed; only the ratios were measured"
    reasons: dict[str, list[str]] = {}
    for one in found.unknown:
        reasons.setdefault(one.change.why, []).append(names(one.kernel))
    yield from (f"taken as unchanged: {', '.join(those)}: {why}" for why, those in reasons.items())


def _row(one: "Cost", then: "Rates") -> list[str]:
    change, kernel = one.change, one.kernel
    return [
        names(kernel),
        kernel.shape,
        show_seconds(kernel.seconds),
        show_seconds(one.now),
        delta(change.value),
        "-" if change.low is None or change.high is None else f"{delta(change.low)} ... {delta(change.high)}",
        _layer(one),
        cost(one),
        percent(one.rates.per_gpu / then.per_gpu),
        signed(one.rates.user),
        "; ".join(_remarks(one)),
    ]


def _layer(one: "Cost") -> str:
    """Of the kind of layer that a step has most of."""
    if not one.layers:
        return "-"
    most = max(one.layers, key=lambda layer: (not layer.guess, layer.count))
    longer = most.now - most.then
    kind = "MoE" if most.kind == "moe" else most.kind
    return f"{kind} {'+' if longer > 0 else ''}{show_seconds(longer) if abs(longer) > 1e-12 else '0 s'}"


def _remarks(one: "Cost") -> Iterator[str]:
    change = one.change
    if change.noise:
        yield "within noise"
    if one.hidden and change.value:
        behind = " and ".join(map(part, one.kernel.beside)) or "other work"
        yield f"hidden behind {behind}" if one.hidden == 1 else f"{show_share(one.hidden)} of it hidden behind {behind}"
    yield change.why
    if change.low is None and change.value:
        yield "how sure is not known"
    if change.note:
        yield change.note


def impact_csv(found: "Impact") -> str:
    """Every kernel, also those that nothing is known of; ln(now / then), seconds and tokens/s with all their digits."""
    return csv_of(_COST_COLUMNS, (_cost_cells(one) for one in (*found.costs, *found.unknown)))


def _cost_cells(one: "Cost") -> list[object]:
    kernel, change = one.kernel, one.change
    layer = max(one.layers, key=lambda layer: (not layer.guess, layer.count))
    low, high = ("", "") if one.low is None or one.high is None else sorted((one.low, one.high))
    interval = ["" if end is None else end for end in (change.low, change.high)]
    felt = [layer.now - layer.then, one.rates.step, one.rates.per_gpu, low, high, one.rates.user]
    known = [change.origin, change.noise, one.hidden]
    return [" ".join(kernel.names), kernel.shape, kernel.seconds, one.now, change.value, *interval, *known, *felt, change.why]
