"""The correctness of one provider on one case, before any timing: poisoned, guarded, from fresh and changed inputs.

The order is what finds the cheats: a result that was computed while preparing, or remembered by address, is stale as soon as
the same buffers hold another content.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from .check import Outputs, Watch, Wrong, compare, named, same
from .deviation import Deviation
from .measurement import Correctness
from .operator import Inputs, New, Recipe, Spec, Tolerance
from .provider import Launch, Provider
from .tensors import Guarded, Maker, seed
from .work import Work

#: Edge inputs are checked too where reference and launches are this cheap, in bytes of work.
_LIGHT_BYTES = 64 * 2**20
_LIGHT_FLOP = 10**9


class Subject(Protocol):
    """What is measured: an Operator at some dimensions, or a bench written by hand."""

    @property
    def tolerance(self) -> dict[str, Tolerance]:
        """How far each output may be from the reference."""

    @property
    def edges(self) -> tuple[Recipe, ...]:
        """Input recipes beside the random one."""

    @property
    def constants(self) -> tuple[str, ...]:
        """Inputs that a model holds fixed."""

    @property
    def exact_dtype(self) -> bool:
        """False where only shapes, not dtypes, of the outputs are known beforehand."""

    def work(self) -> Work:
        """Bytes and FLOP."""

    def inputs(self, new: New) -> Inputs:
        """The input tensors, by name."""

    def outputs(self) -> dict[str, Spec]:
        """Shape and dtype of every output."""

    def reference(self, *args: Any, **kwargs: Any) -> Any:
        """The right outputs."""

    def flaw(self, inputs: Inputs, got: Outputs, want: Outputs) -> str | None:
        """One sentence about outputs with more than one right answer."""


@dataclass(eq=False)
class Content:
    """One set of input values with the right outputs for them."""

    recipe: Recipe
    inputs: Inputs
    want: Outputs

    @property
    def finite_reference(self) -> bool:
        """False where the reference itself gives NaN."""
        return not any(bool(value.isnan().any()) for value in self.want.values() if value.is_floating_point())


def content(subject: Subject, device: str, number: int, recipe: Recipe = "random", base: "Content | None" = None) -> Content:
    """Makes inputs and runs the reference on clones of them. `base` supplies the inputs that a model holds fixed."""
    inputs = subject.inputs(Maker(seed(subject, number), device, recipe))
    if base is not None:
        inputs |= {name: base.inputs[name] for name in subject.constants}
    with torch.no_grad():
        right = subject.reference(**clone(inputs))
    specs = subject.outputs()
    values = list(right) if isinstance(right, (tuple, list)) else [right]
    if len(values) != len(specs):
        raise Wrong(f"the reference returned {len(values)} outputs; expected {len(specs)}: {', '.join(specs)}")
    for (name, spec), value in zip(specs.items(), values, strict=True):
        # Another shape would be broadcast against the output, and right and wrong ones would look alike.
        if tuple(value.shape) != spec.shape:
            raise Wrong(f"the reference's output {name!r} has shape {list(value.shape)}; expected {list(spec.shape)}")
    return Content(recipe, inputs, dict(zip(specs, values, strict=True)))


def clone(inputs: Inputs, guarded: Guarded | None = None) -> Inputs:
    """Copies of the inputs with the same strides, between guard bytes of their own; gaps between their rows are poisoned."""
    guarded = guarded or Guarded()
    return {name: _clone(value, guarded, f"input {name!r}") for name, value in inputs.items()}


def _clone(value: Tensor, guarded: Guarded, label: str) -> Tensor:
    extent = 1 + sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
    if extent < value.numel():
        return value.clone()  # an expanded tensor: some of its elements share their memory
    whole = guarded.empty((extent,), value.dtype, value.device, label, poison=extent > value.numel())
    return whole.as_strided(value.shape, value.stride()).copy_(value)


def copy_into(buffers: Inputs, values: Inputs) -> None:
    """Writes other values into existing buffers."""
    for name, value in values.items():
        buffers[name].copy_(value)


@dataclass
class Trial:
    """What a provider's correctness rounds found."""

    figures: Correctness
    seen: tuple[str, ...]
    launch: Launch
    #: outputs for the two random contents, as this provider computes them
    golden: dict[int, Outputs] = field(default_factory=dict)


def light(subject: Subject) -> bool:
    """Whether edge inputs cost little enough to be checked at every run."""
    work = subject.work()
    return work.bytes <= _LIGHT_BYTES and work.flops <= _LIGHT_FLOP


def edge_contents(subject: Subject, device: str, base: Content) -> list[Content]:
    """The contents of the operator's edge recipes, where they are cheap; what a model holds fixed is that of `base`."""
    return [content(subject, device, 0, recipe, base) for recipe in subject.edges] if light(subject) else []


def run(
    subject: Subject,
    provider: Provider,
    contents: list[Content],
    edges: list[Content],
    device: str,
    peer: dict[str, float] | None = None,
) -> Trial:
    """All rounds of one provider. Raises Wrong with one sentence; whatever the provider itself raises passes through."""
    guarded = Guarded()
    watch = Watch(guarded)
    buffers = clone(contents[0].inputs, guarded)
    specs = subject.outputs()
    deviations: list[dict[str, Deviation]] = []
    with watch:
        launch = provider.prepare(subject, **buffers)
    if not callable(launch):
        raise Wrong(f"prepared a {type(launch).__name__}; expected the launch, a function without arguments")
    # What preparing dispatched, such as a weight brought into place, is no part of the launch.
    watch.seen.clear()

    def once(values: Content, how: Callable[[], Any], peers: dict[str, float] | None) -> Outputs:
        got = named(how(), specs, device, subject.exact_dtype)
        _synchronize(device)
        _unharmed(values.inputs, buffers, provider, guarded)
        try:
            deviations.append(compare(subject, values.inputs, got, values.want, peers))
        except Wrong as error:
            raise Wrong(f"{error} [{_round(values, contents)}]") from None
        return got

    def watched() -> Any:
        with watch:
            return launch()

    first = _kept(once(contents[0], watched, peer))
    golden: dict[int, Outputs] = {}
    for number in (1, 0):
        copy_into(buffers, contents[number].inputs)
        golden[number] = _kept(once(contents[number], launch, peer))
    deterministic = all(same(first[name], value) for name, value in golden[0].items())
    del first
    for edge in edges:
        copy_into(buffers, edge.inputs)
        once(edge, watched, None)
    rounds = ("content 0", "content 1", *(edge.recipe for edge in edges))
    return Trial(_figures(deviations, rounds, deterministic), tuple(watch.seen), launch, golden)


def _kept(outputs: Outputs) -> Outputs:
    """Copies, since a launch may return the same tensors again and again."""
    return {name: value.clone() for name, value in outputs.items()}


def _round(values: Content, contents: list[Content]) -> str:
    return f"inputs: {values.recipe}" if values.recipe != "random" else f"inputs: content {contents.index(values)}"


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _unharmed(before: Inputs, after: Inputs, provider: Provider, guarded: Guarded) -> None:
    """Raises Wrong where the launch wrote past a tensor, or changed an input it had not declared in-place."""
    broken = guarded.broken()
    if broken:
        raise Wrong(f"wrote out of bounds: the guard bytes around {broken} changed")
    for name, value in before.items():
        if name not in provider.inplace and not same(value, after[name]):
            raise Wrong(f"changed its input {name!r}; declare it with inplace=({name!r},) if the kernel works in place")


def _figures(deviations: list[dict[str, Deviation]], rounds: tuple[str, ...], deterministic: bool) -> Correctness:
    def worst(get: Callable[[Deviation], float]) -> dict[str, float]:
        figures: dict[str, float] = {}
        for name, value in _all(deviations):
            figures[name] = max(figures.get(name, 0.0), get(value))
        return figures

    return Correctness(
        rel_l2=worst(lambda d: d.rel_l2),
        worst=worst(lambda d: d.worst),
        rounds=rounds,
        deterministic=deterministic,
    )


def _all(deviations: list[dict[str, Deviation]]) -> Iterator[tuple[str, Deviation]]:
    for found in deviations:
        yield from found.items()
