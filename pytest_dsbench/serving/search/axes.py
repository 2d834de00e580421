"""Axes: what the command line says of configurations, checked against a model. Every mistake is one sentence."""

from collections.abc import Sequence

from ...mistake import Mistake
from ...units import show_bytes
from ..capacity import Need
from ..configuration import Configuration
from ..estimate import Estimate, estimate
from ..grid import lacking
from ..layer import Split, obstacle
from ..model.architecture import Architecture, Mla
from ..precision import Precision
from ..price import links
from ..price.assumed import Assumed

#: Experts that stand twice come in eighths of all, up to a quarter: 32 or 64 of DeepSeek's 256, as it is served and as it was
#: published.
_SPARE = (0, 8, 4)


def split(model: Architecture, ep: int | None, redundant: int | None, assumed: Assumed) -> Split | None:
    """How `ep` GPUs share the experts; None for a dense model, which has none. Raises Mistake where they do not divide.

    Where `redundant` is not given, no expert stands twice if that divides, else an eighth of them, else a quarter.
    """
    moe = model.moe
    if moe is None:
        if ep not in (None, 1):
            raise Mistake(f"--ep {ep}: {model.name} is dense and has no experts to share; --tp shares its layers")
        if redundant:
            raise Mistake(f"--redundant {redundant}: {model.name} is dense and has no experts that could stand twice")
        return None
    ep = ep or 1
    choices = _choices(moe.experts, redundant)
    for spare in choices:
        if ep >= 1 and (moe.experts + spare) % ep == 0:
            return Split(
                ep=ep, local=(moe.experts + spare) // ep, imbalance=assumed.number("imbalance.experts") if ep > 1 else 1.0
            )
    with_spare = " or ".join(str(moe.experts + spare) for spare in choices)
    needed = -moe.experts % ep if ep > 0 else 0
    way = f"--redundant {needed} would make it divide; " if needed else ""
    near = _near(moe.experts, choices, ep)
    raise Mistake(f"--ep {ep}: does not divide the {with_spare} experts of {model.name}; {way}nearest that do: {near}")


def eps(model: Architecture, redundant: int | None = None) -> tuple[int, ...]:
    """Numbers of GPUs that share the experts without a remainder, as a search tries them; 1 of a dense model."""
    if model.moe is None:
        return (1,)
    return tuple(_divisors(model.moe.experts, _choices(model.moe.experts, redundant)))


def _choices(experts: int, redundant: int | None) -> tuple[int, ...]:
    """Numbers of experts that may stand twice. Raises Mistake for one that cannot be."""
    if redundant is None:
        return tuple(experts // part if part else 0 for part in _SPARE)
    if not 0 <= redundant <= experts:
        raise Mistake(f"--redundant {redundant}: expected how many of the {experts} experts stand twice, 0 to {experts}")
    return (redundant,)


def _divisors(experts: int, choices: Sequence[int]) -> list[int]:
    return [ep for ep in range(1, experts + max(choices) + 1) if any((experts + spare) % ep == 0 for spare in choices)]


def _near(experts: int, choices: Sequence[int], ep: int) -> str:
    found = sorted(_divisors(experts, choices), key=lambda one: abs(one - ep))[:4]
    return ", ".join(map(str, sorted(found)))


def check_tp(model: Architecture, tp: int) -> None:
    """Raises Mistake where `tp` GPUs cannot share the heads of a model."""
    if tp < 1:
        raise Mistake(f"--tp {tp}: expected a number of GPUs of at least 1")
    for what, size in (("query heads", model.heads), ("columns of the dense MLP", model.intermediate)):
        if size % tp:
            raise Mistake(f"--tp {tp}: does not divide the {size} {what} of {model.name}")
    kind = model.attention
    if not isinstance(kind, Mla) and kind.kv_heads % tp and tp % kind.kv_heads:
        raise Mistake(f"--tp {tp}: neither divides the {kind.kv_heads} key heads of {model.name} nor is a multiple of them")


def check_mtp(model: Architecture, mtp: int, decode: bool) -> None:
    """Raises Mistake where a model cannot guess so many tokens ahead."""
    if mtp < 0:
        raise Mistake(f"--mtp {mtp}: expected a number of guessed tokens, 0 or more")
    if mtp and not decode:
        raise Mistake(f"--mtp {mtp}: tokens are guessed in decode; prefill has them all")
    if mtp and not model.draft_layers:
        raise Mistake(f"--mtp {mtp}: {model.name} has no layer that guesses tokens (num_nextn_predict_layers)")


def check_context(model: Architecture, context: int) -> None:
    """Raises Mistake for a context that is none, or longer than a model's positions."""
    if context < 1:
        raise Mistake(f"--context {context}: expected a number of tokens of at least 1, such as 4096")
    if context > model.max_positions:
        raise Mistake(f"--context {context}: {model.name} has {model.max_positions} positions")


def check(given: Configuration) -> None:
    """Raises Mistake where a configuration cannot be built, whatever memory it needs."""
    check_tp(given.model, given.tp)
    check_mtp(given.model, given.mtp, given.decode)
    check_context(given.model, given.context)
    if given.tp > links.domain(given.gpu):
        near = links.domain(given.gpu)
        raise Mistake(f"--tp {given.tp}: of {given.gpu.name} only {near} reach each other over a link (link_gpus of its sheet)")
    if given.split is not None and given.split.ep % given.tp:
        raise Mistake(f"--tp {given.tp}: does not divide --ep {given.split.ep}; GPUs that share heads share experts too")
    unit = lacking(given.gpu, given.precision)
    if unit is not None:
        raise Mistake(
            f"--precision {given.precision}: {given.gpu.name} has no {unit} unit; its sheet has {', '.join(given.gpu.peak)}"
        )
    check_kernels(given.model, given.tp, given.precision, given.decode)


def check_kernels(model: Architecture, tp: int, precision: Precision, decode: bool) -> None:
    """Raises Mistake where a kernel of a layer would have sizes that no such kernel takes."""
    why = obstacle(model, tp, precision, decode)
    if why is not None:
        raise Mistake(f"--precision {precision} at --tp {tp}: {why}")


def refusal(found: Estimate, assumed: Assumed) -> str | None:
    """One sentence where the memory of a GPU is too small: by how much, and what would fit. None where it fits."""
    given = found.configuration
    if found.fits or found.usable is None:
        return None
    over = found.need.total - found.usable
    return (
        f"{given.model.name} does not fit on {given.gpu.name}: {_parts(found.need)} make {show_bytes(found.need.total)}"
        f" on each GPU, {show_bytes(over)} more than the {show_bytes(found.usable)} that may be used; {_way_out(given, assumed)}"
    )


def _parts(need: Need) -> str:
    parts = (("weights", need.weights), ("cache", need.cache), ("activations", need.activations))
    return ", ".join(f"{name} {show_bytes(float(size))}" for name, size in parts)


def _way_out(given: Configuration, assumed: Assumed) -> str:
    """What would fit: fewer sequences, more GPUs, fewer bits; the ways that alone are enough."""
    ways = []
    batch = _largest(given, assumed)
    if batch:
        ways.append(f"batch {batch}")
    if given.split is not None:
        wider = (ep for ep in eps(given.model) if ep > given.split.ep and ep % given.tp == 0)
        fitting = next((ep for ep in wider if _fits(given.replace(split=split(given.model, ep, None, assumed)), assumed)), None)
        ways += [f"EP {fitting}"] if fitting else []
    shared = (tp for tp in (2, 4, 8) if tp > given.tp and _can(given.replace(tp=tp)))
    tp = next((tp for tp in shared if _fits(given.replace(tp=tp), assumed)), None)
    ways += [f"TP {tp}"] if tp else []
    if given.precision.cache == "bf16":
        half = given.replace(precision=given.precision.replace(cache="fp8"))
        ways += ["an fp8 cache"] if _fits(half, assumed) else []
    if given.precision.dense == "bf16":
        eight = given.replace(precision=given.precision.replace(dense="fp8", experts="fp8"))
        ways += ["fp8 weights"] if lacking(given.gpu, eight.precision) is None and _fits(eight, assumed) else []
    return f"{', '.join(ways[:-1])}{' or ' if ways[:-1] else ''}{ways[-1]} would fit" if ways else "no smaller batch fits either"


def _largest(given: Configuration, assumed: Assumed) -> int:
    """The largest batch that fits, by halving; 0 for none."""
    low, high = 0, given.batch
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(given.replace(batch=middle), assumed) else (low, middle)
    return low


def _can(given: Configuration) -> bool:
    try:
        check(given)
    except Mistake:
        return False
    return True


def _fits(given: Configuration, assumed: Assumed) -> bool:
    return estimate(given, assumed).fits


#: Above this no number of GPUs, of sequences or of tokens means anything.
_MOST = 1_000_000


def whole(text: str, option: str, least: int = 0) -> tuple[int, ...]:
    """Whole numbers as the command line gives them: "144", "72,144", "8:256:8" with its end, or any of them joined by commas.

    Raises Mistake.
    """
    found: list[int] = []
    for item in text.split(","):
        words = [word.strip() for word in item.split(":")]
        known = len(words) <= 3 and all(word.isascii() and word.isdecimal() and len(word) <= len(str(_MOST)) for word in words)
        low, *rest = map(int, words) if known else (-1,)
        high, step = [*rest, 1][:2] if rest else (low, 1)
        if not least <= low <= high <= _MOST or step < 1:
            expected = f"whole numbers from {least} to {_MOST}, such as 64, or 16,32, or 8:256:8 with its end"
            raise Mistake(f"{option} {_short(text)!r}: expected {expected}")
        found += range(low, high + 1, step)
    return tuple(dict.fromkeys(found))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
