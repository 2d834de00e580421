"""Is what a provider returned right: its kind, and its values against the operator's own tolerances."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .deviation import Deviation, deviation
from .operator import EXACT, Inputs, Spec, Tolerance
from .tensors import Guarded, our_dtype, torch_dtype
from .units import show_count

#: A provider may be this many times as far from the reference as torch's own path in the same dtype.
_PEER = 2.0
Outputs = dict[str, Tensor]


class Wrong(Exception):
    """An output is wrong; `str()` of it is one sentence."""


class Judge(Protocol):
    """What of an operator says whether outputs are right."""

    @property
    def tolerance(self) -> dict[str, Tolerance]:
        """How far each output may be from the reference."""

    def flaw(self, inputs: Inputs, got: Outputs, want: Outputs) -> str | None:
        """One sentence about outputs with more than one right answer."""


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs a provider so that its allocations come poisoned and guarded, and lists the operations that it dispatched."""

    def __init__(self, guarded: Guarded) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._guarded = guarded
        #: names of the dispatched operations, such as "aten.mul" or "sgl_kernel.rmsnorm", in order of first use
        self.seen: dict[str, None] = {}

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Lets torch.compile compile while this is active; what it compiled is then seen as one piece."""
        return True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replaces fresh uninitialised tensors; passes everything else on."""
        out = func(*args, **(kwargs or {}))
        name = f"{func.namespace}.{func._schema.name.partition('::')[2]}"
        self.seen[name] = None
        # One without elements is there to be resized by the call it is given to.
        if name in _FRESH and out.is_contiguous() and out.numel() and out.device.type != "meta":
            return self._guarded.empty(out.shape, out.dtype, out.device, "an output it allocated", poison=True)
        return out


_FRESH = {"aten.empty", "aten.empty_like", "aten.new_empty", "aten.empty_strided", "aten.new_empty_strided"}


def named(outputs: Any, specs: Mapping[str, Spec], device: str, exact_dtype: bool = True) -> Outputs:
    """The outputs of a launch by name. Raises Wrong where count, type, shape, dtype or device are not the operator's."""
    given = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    if len(given) != len(specs) or outputs is None:
        count = "nothing" if outputs is None else show_count(len(given), "output")
        raise Wrong(f"returned {count}; expected {len(specs)}: {', '.join(specs)}")
    for (name, spec), got in zip(specs.items(), given, strict=True):
        if type(got) not in (Tensor, torch.nn.Parameter):
            raise Wrong(f"output {name!r} is a {type(got).__name__}; expected a torch.Tensor with storage of its own")
        if got.device.type != device:
            raise Wrong(f"output {name!r} is on {got.device.type}; expected {device}")
        if tuple(got.shape) != spec.shape:
            raise Wrong(f"output {name!r} has shape {list(got.shape)}; expected {list(spec.shape)}")
        if exact_dtype and got.dtype != torch_dtype(spec.dtype):
            raise Wrong(f"output {name!r} has dtype {our_dtype(got.dtype)}; expected {spec.dtype}")
    return dict(zip(specs, given, strict=True))


def compare(
    judge: Judge, inputs: Inputs, got: Outputs, want: Outputs, peer: Mapping[str, float] | None = None
) -> dict[str, Deviation]:
    """Holds every output against its reference. Raises Wrong with the first thing that is not right.

    `peer`: relative errors of torch's own path in the same dtype, where there is one.
    """
    found = {}
    for name, reference in want.items():
        tolerance = judge.tolerance.get(name, EXACT)
        if tolerance.judged:
            continue
        found[name] = deviation(got[name], reference, tolerance)
        if found[name].wrong:
            raise Wrong(f"output {name!r} is wrong: {found[name].wrong}")
        # Below a quarter of the tolerance both errors are rounding, and their ratio says nothing.
        allowed = max(_PEER * (peer or {}).get(name, math.inf), (tolerance.rel_l2 or 0.0) / 4)
        if tolerance.peer and tolerance.rel_l2 is not None and found[name].rel_l2 > allowed:
            raise Wrong(
                f"output {name!r} is wrong: relative error {found[name].rel_l2:.2e}, more than {_PEER:g}x that of torch"
                f" in the same dtype ({(peer or {})[name]:.2e})"
            )
    flaw = judge.flaw(inputs, got, want)
    if flaw:
        raise Wrong(flaw)
    return found


def same(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors hold the same bits, NaN included."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if left.is_contiguous() and right.is_contiguous():
        return torch.equal(left.view(-1).view(torch.uint8), right.view(-1).view(torch.uint8))
    return same(left.contiguous(), right.contiguous())
