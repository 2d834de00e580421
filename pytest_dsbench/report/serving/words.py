"""Names that text and pictures of an estimate share: its configuration, its sections, and the parts of a layer."""

from math import ceil
from typing import TYPE_CHECKING

from ...units import show_count, show_seconds

if TYPE_CHECKING:
    from ...serving.configuration import Configuration
    from ...serving.sections import Section

#: Micro-batches by their number.
MICRO = ("A", "B")
_KINDS = {"moe": "MoE layer", "dense": "dense layer", "head": "head"}


def title(given: "Configuration") -> str:
    """Model, device and phase."""
    return f"{given.model.title} on {given.gpu.title}, {'decode' if given.decode else 'prefill'}"


def layout(given: "Configuration") -> str:
    """How the model lies on its GPUs."""
    split = given.split
    spread = [] if split is None else [f"EP {split.ep} with {show_count(split.local, 'expert')} on each GPU"]
    nic = [] if given.nic is None else [f"NIC {given.nic.title}"]
    guesses = [f"MTP {given.mtp}"] if given.decode else []
    return ", ".join([*spread, f"TP {given.tp}", *nic, f"weights/cache {given.precision}", f"{given.policy} schedule", *guesses])


def load(given: "Configuration", context: int) -> str:
    """What each GPU has to do; `context`: tokens of the sequences of the GPU that all others wait for."""
    halves = f", {ceil(given.batch / 2)} in each of two micro-batches" if given.policy == "dual" else ""
    if not given.decode:
        prompts = show_count(given.batch, "prompt")
        return f"{prompts} of {given.context} tokens for each GPU{halves}"
    fullest = f", {context} on the fullest GPU" if context != given.context else ""
    return f"{show_count(given.batch, 'sequence')} for each GPU{halves}; {given.context} tokens of context{fullest}"


def kind(one: "Section") -> str:
    """What a section has."""
    return f"{_KINDS[one.kind]}{' of a guessed token' if one.guess else ''}"


def section(one: "Section") -> str:
    """A section and how many of it there are in a step."""
    return kind(one) if one.kind == "head" and not one.guess else f"{one.count} x {kind(one)}"


def part(name: str) -> str:
    """A part of a layer in words."""
    return {"gather": "gather rows", "scatter": "add up rows"}.get(name, name.replace("_", " "))


def whose(name: str, micro: int, policy: str) -> str:
    """A part with the micro-batch that it works on, where there are two."""
    return f"{part(name)} {MICRO[micro]}" if policy == "dual" else part(name)


def assumption(name: str, value: float | str) -> str:
    """The value of an assumption: a time, a number or a word."""
    if isinstance(value, str):
        return value
    return show_seconds(value) if name.startswith("time.") or name.endswith("_latency") else f"{value:g}"
