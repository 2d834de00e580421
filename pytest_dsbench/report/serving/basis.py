"""What stands below the tree of a configuration: memory, rates, and what its numbers rest on."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from ...units import show_bytes, show_number, show_seconds, show_share
from ..table import table
from . import words

if TYPE_CHECKING:
    from ...serving.estimate import Estimate
    from ...serving.price.assumed import Assumed


def memory_lines(found: "Estimate", assumed: "Assumed") -> Iterator[str]:
    """What lies in the memory of one GPU, and whether it fits."""
    need, memory = found.need, found.configuration.gpu.memory
    parts = {"weights": need.weights, "cache": need.cache, "activations": need.activations, "sum": need.total}
    yield from table(["memory of one GPU", ""], [[f"  {name}", show_bytes(float(size))] for name, size in parts.items()])
    if found.usable is None or memory is None:
        yield f"  the sheet of {found.configuration.gpu.name} has no memory; whether it fits is not known"
        return
    share = f"{show_share(assumed.number('memory.usable'))} of {show_bytes(memory)}"
    left = found.usable - need.total
    verdict = f"fits, {show_bytes(left)} left" if found.fits else f"does not fit, {show_bytes(-left)} too much"
    yield f"  usable {show_bytes(found.usable)}, {share}: {verdict}"


def rates_lines(found: "Estimate", assumed: "Assumed") -> Iterator[str]:
    """From the step to what a user and what a GPU gets."""
    given = found.configuration
    user, step = show_number(found.user), show_seconds(found.step)
    yield "rates"
    if given.decode:
        yield f"  tokens per step of a sequence: {_gained(found, assumed)}"
        tpot = show_seconds(found.step / found.gained)
        yield f"  time per output token (TPOT): {step} / {show_number(found.gained)} = {tpot}; {user} tokens/s for each user"
        what = "sequences" if given.batch > 1 else "sequence"
    else:
        yield f"  time to the first token: {step}; {user} tokens/s of each prompt of {show_number(found.gained)} tokens"
        what = "prompts" if given.batch > 1 else "prompt"
    yield f"  one GPU: {given.batch} {what} x {user} = {show_number(found.per_gpu)} tokens/s"


def _gained(found: "Estimate", assumed: "Assumed") -> str:
    if not found.configuration.mtp:
        return "1"
    chance = f"{assumed.number('guess.acceptance'):g}"
    powers = [chance if guess == 1 else f"{chance}^{guess}" for guess in range(1, found.configuration.mtp + 1)]
    return f"1 + {' + '.join(powers)} = {show_number(found.gained)}"


def sources_lines(found: "Estimate") -> Iterator[str]:
    """The share of the step by where the efficiency behind it comes from; host and all sources are the whole step."""
    from ...serving.price.efficiencies import Source

    sources: Sequence[Source] = get_args(Source)
    rows = [[f"  {name}", show_share(found.share(name))] for name in sources]
    yield from table(
        ["the step's time by where it comes from", ""], [*rows, ["  host, assumed", show_share(found.host / found.step)]]
    )


def assumptions_lines(found: "Estimate", assumed: "Assumed") -> Iterator[str]:
    """What was assumed, with the share of the step that it prices; a size or a rate prices none by itself."""
    from ...serving.grounds import grounds

    rows = []
    for one in grounds(found, assumed):
        share = "" if one.seconds is None else "hidden" if not one.seconds else show_share(one.seconds / found.step)
        changed = "changed" if one.name in assumed.changed else ""
        rows.append([f"  {one.name}", words.assumption(one.name, one.value), share, changed])
    yield from table(["assumed here; --assume NAME=VALUE changes it", "value", "of the step", ""], rows, last_left=True)
