"""What really ran: the operations a launch dispatched and the functions it refers to, not the name on the tin."""

from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from .provider import Launch, Provider

#: Dispatched operations that allocate, view or convert: they are part of any launch and say nothing about who computed.
_PLUMBING = (
    "empty", "new_empty", "view", "reshape", "as_strided", "slice", "select", "transpose", "t", "permute", "expand", "detach",
    "alias", "unsqueeze", "squeeze", "zeros", "zero_", "fill_", "copy_", "_to_copy", "clone", "unbind", "split", "narrow",
    "split_with_sizes", "empty_like", "empty_strided", "new_empty_strided", "_unsafe_view", "lift_fresh", "_local_scalar_dense",
    "item", "set_", "resize_", "record_stream", "arange", "full", "ones", "new_zeros", "zeros_like", "chunk", "unflatten",
    "flatten", "contiguous",
)  # fmt: skip


def computed(seen: tuple[str, ...]) -> tuple[str, ...]:
    """The dispatched operations that compute."""
    return tuple(name for name in seen if not (name.startswith("aten.") and name.removeprefix("aten.") in _PLUMBING))


def functions(launch: Launch, seen: tuple[str, ...]) -> tuple[str, ...]:
    """What ran, as dotted names: dispatched operations, or, for kernels that torch does not see, what the launch refers to."""
    ops = computed(seen)
    return ops if ops else _referred(launch)


def _referred(launch: Launch) -> tuple[str, ...]:
    """Functions and kernels in the closure and the globals of a launch; its own name where there are none."""
    if isinstance(launch, partial):
        return (_dotted(launch.func),)
    if not isinstance(launch, FunctionType):
        return (_dotted(launch),)
    values = [cell.cell_contents for cell in launch.__closure__ or ()]
    values += [launch.__globals__.get(name) for name in launch.__code__.co_names]
    found = {_dotted(value): None for value in values if callable(value) and not isinstance(value, (type, ModuleType))}
    return tuple(found) or (_dotted(launch),)


def _dotted(value: Any) -> str:
    """module.name of a function, of the function a Triton kernel was made from, or of the type of any other callable."""
    while not hasattr(value, "__qualname__") and hasattr(value, "fn"):
        value = value.fn
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def fallback(provider: Provider, seen: tuple[str, ...]) -> tuple[str, ...]:
    """A note where a provider of another library computed with torch's own operations."""
    native = [name for name in computed(seen) if name.startswith("aten.")]
    if not native or set(provider.needs) <= {"torch"}:
        return ()  # it says itself that it is torch, or claims no library at all
    return (f"computed with torch's own operations: {', '.join(native)}",)
