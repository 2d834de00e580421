"""torch_compile: the launches of torch_native, compiled; slow to start, so only by request."""

import warnings
from collections.abc import Callable
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ..operator import Operator
from ..provider import Launch

if TYPE_CHECKING:
    from torch import Tensor


def compiling(prepare: Callable[..., Launch]) -> Callable[..., Launch]:
    """A provider's function whose launch is what `prepare` launches, compiled."""

    def compiled_launch(op: Operator, **inputs: "Tensor") -> Launch:
        launch = prepare(op, **inputs)
        assert isinstance(launch, FunctionType), f"{prepare.__name__} prepares no plain function"
        return compiled(launch, f"{op.name}_{hash(op):x}")

    return compiled_launch


def compiled(launch: FunctionType, name: str) -> Callable[..., Any]:
    """`launch` compiled for its own shapes alone, or an error: it never falls back to eager code.

    Dynamo keeps what it compiled with the code object and gives up after eight shapes, so every launch gets its own copy.
    """
    import torch

    with warnings.catch_warnings():
        # Importing inductor warns of torch's own deprecations; where warnings are errors, that would fail the compilation.
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("torch._inductor.compile_fx")
    own = FunctionType(launch.__code__.replace(co_name=name.replace("-", "m")), launch.__globals__, closure=launch.__closure__)
    ready: Callable[..., Any] = torch.compile(own, fullgraph=True, dynamic=False)
    return ready
