"""What really ran: the operations a launch dispatched and the functions it refers to, not the name on the tin."""

from types import FunctionType, ModuleType

from .operator import Launch, Provider

#: Dispatched operations that allocate, view or convert: they are part of any launch and say nothing about who computed.
_PLUMBING = (
    "empty", "new_empty", "view", "reshape", "as_strided", "slice", "select", "transpose", "t", "permute", "expand", "detach", "alias",
    "unsqueeze", "squeeze", "zeros", "zero_", "fill_", "copy_", "_to_copy", "clone", "unbind", "split", "split_with_sizes", "narrow",
    "empty_like", "empty_strided", "new_empty_strided", "_unsafe_view", "lift_fresh", "_local_scalar_dense", "item", "set_", "resize_",
    "record_stream", "arange", "full", "ones", "new_zeros", "zeros_like", "chunk", "unflatten", "flatten", "contiguous",
)  # fmt: skip
#: Providers whose operations are torch's by name.
_TORCH = ("torch", "torch_compile")


def computed(seen: tuple[str, ...]) -> tuple[str, ...]:
    """The dispatched operations that compute."""
    return tuple(name for name in seen if not (name.startswith("aten.") and name.removeprefix("aten.") in _PLUMBING))


def functions(launch: Launch, seen: tuple[str, ...]) -> tuple[str, ...]:
    """What ran, as dotted names: dispatched operations, or, for kernels that torch does not see, what the launch refers to."""
    ops = computed(seen)
    return ops if ops else _referred(launch)


def _referred(launch: Launch) -> tuple[str, ...]:
    """Functions and kernels in the closure and the globals of a launch."""
    code = getattr(launch, "__code__", None)
    if code is None:
        return (f"{type(launch).__module__}.{type(launch).__qualname__}",)
    values = [cell.cell_contents for cell in getattr(launch, "__closure__", None) or ()]
    values += [launch.__globals__.get(name) for name in code.co_names] if isinstance(launch, FunctionType) else []
    found: dict[str, None] = {}
    for value in values:
        inner = getattr(value, "fn", value)  # a Triton kernel keeps the function it was made from as .fn
        while not hasattr(inner, "__qualname__") and hasattr(inner, "fn"):
            inner = inner.fn
        name, module = getattr(inner, "__qualname__", None), getattr(inner, "__module__", None)
        if name and module and callable(value) and not isinstance(value, (type, ModuleType)):
            found[f"{module}.{name}"] = None
    return tuple(found) or (f"{launch.__module__}.{getattr(launch, '__qualname__', '')}",)


def fallback(provider: Provider, seen: tuple[str, ...]) -> tuple[str, ...]:
    """A note where a provider of another library computed with torch's own operations."""
    native = [name for name in computed(seen) if name.startswith("aten.")]
    if provider.name in _TORCH or not native or not provider.needs:
        return ()
    return (f"computed with torch's own operations: {', '.join(native)}",)
