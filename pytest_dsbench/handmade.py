"""A bench written by hand, as something the runner can measure like an operator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from .check import Outputs, Wrong
from .measurement import OWN
from .operator import Inputs, New, Recipe, Spec, Tolerance
from .provider import Launch, Provider
from .tensors import Maker, our_dtype
from .units import Dtype
from .work import Work

#: What an output of a bench by hand may be off where it names no tolerance: two bf16 roundings, in proportion.
DEFAULT = Tolerance(rtol=2**-6, rms=2**-6, rel_l2=8e-3)


@dataclass
class Handmade:
    """Inputs, launch, reference and work of one hand-written bench."""

    #: what tells it from any other one, since inputs and references are kept by it
    name: str
    make: Callable[[New], Inputs]
    call: Callable[..., Any]
    right: Callable[..., Any]
    amount: Work
    #: by name of the output, in order; one for all where they have no names
    allowed: dict[str, Tolerance] | Tolerance = DEFAULT
    edges: tuple[Recipe, ...] = ()
    constants: tuple[str, ...] = ()
    exact_dtype: bool = False
    _outputs: dict[str, Spec] | None = None

    def __repr__(self) -> str:
        return self.name

    def work(self) -> Work:
        """Bytes and FLOP, as the bench states them."""
        return self.amount

    def inputs(self, new: New) -> Inputs:
        """The input tensors, by name."""
        return self.make(new)

    @property
    def tolerance(self) -> dict[str, Tolerance]:
        """How far each output may be from the reference."""
        return self.allowed if isinstance(self.allowed, dict) else dict.fromkeys(self.outputs(), self.allowed)

    def outputs(self) -> dict[str, Spec]:
        """Names and shapes of the outputs, from the reference, asked once. Raises Wrong."""
        if self._outputs is None:
            try:
                right = self.right(**self.make(Maker(0, "meta")))
            except RuntimeError:  # it looks at values, and the meta device has none
                right = self.right(**self.make(Maker(0, "cpu")))
            values = list(right) if isinstance(right, (tuple, list)) else [right]
            self._outputs = {
                name: Spec(shape=tuple(value.shape), dtype=cast(Dtype, our_dtype(value.dtype)))
                for name, value in zip(self._names(len(values)), values, strict=True)
            }
        return self._outputs

    def _names(self, count: int) -> list[str]:
        if not isinstance(self.allowed, dict):
            return ["out"] if count == 1 else [f"out{n}" for n in range(count)]
        if len(self.allowed) != count:
            named = ", ".join(self.allowed) or "none"
            raise Wrong(
                f"the reference returns {count} outputs and tolerance names {len(self.allowed)} ({named}); name all, in order"
            )
        return list(self.allowed)

    def reference(self, **inputs: Any) -> Any:
        """The right outputs."""
        return self.right(**inputs)

    def flaw(self, inputs: Inputs, got: Outputs, want: Outputs) -> str | None:  # noqa: ARG002
        """None: a bench by hand has one right answer."""
        return None


def provider(inplace: tuple[str, ...]) -> Provider:
    """A bench's own launch as a provider."""

    def prepare(subject: Handmade, **inputs: Any) -> Launch:
        return lambda: subject.call(**inputs)

    return Provider(name=OWN, prepare=prepare, devices=("cpu", "cuda"), inplace=inplace)
