"""A bench written by hand, as something the runner can measure like an operator."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from .check import Outputs
from .operator import Inputs, Launch, New, Provider, Recipe, Spec, Tolerance
from .tensors import Maker, our_dtype
from .units import Dtype
from .work import Work

#: What an output of a bench by hand may be off where it names no tolerance: two bf16 roundings, in proportion.
DEFAULT = Tolerance(rtol=2**-6, rms=2**-6, rel_l2=8e-3)


@dataclass
class Handmade:
    """Inputs, launch, reference and work of one hand-written bench."""

    name: str
    make: Callable[[New], Inputs]
    call: Callable[..., Any]
    right: Callable[..., Any]
    amount: Work
    tolerance: dict[str, Tolerance] = field(default_factory=dict)
    edges: tuple[Recipe, ...] = ()
    constants: tuple[str, ...] = ()
    exact_dtype: bool = False

    def __repr__(self) -> str:
        return self.name

    def work(self) -> Work:
        """Bytes and FLOP, as the bench states them."""
        return self.amount

    def inputs(self, new: New) -> Inputs:
        """The input tensors, by name."""
        return self.make(new)

    def outputs(self) -> dict[str, Spec]:
        """Names and shapes of the outputs, from the reference on the meta device."""
        right = self.right(**self.make(Maker(0, "meta")))
        values = list(right) if isinstance(right, (tuple, list)) else [right]
        names = list(self.tolerance) if len(self.tolerance) == len(values) else [f"out{n}" for n in range(len(values))]
        return {
            name: Spec(shape=tuple(value.shape), dtype=cast(Dtype, our_dtype(value.dtype)))
            for name, value in zip(names, values, strict=True)
        }

    def reference(self, **inputs: Any) -> Any:
        """The right outputs."""
        return self.right(**inputs)

    def flaw(self, inputs: Inputs, got: Outputs, want: Outputs) -> str | None:
        """None: a bench by hand has one right answer."""
        return None


def provider(handmade: Handmade, inplace: tuple[str, ...]) -> Provider:
    """The bench's own launch as a provider."""

    def prepare(subject: Handmade, **inputs: Any) -> Launch:
        return lambda: subject.call(**inputs)

    return Provider(name="own", prepare=prepare, devices=("cpu", "cuda"), inplace=inplace)
