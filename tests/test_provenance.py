"""What really ran, in the words of the libraries: dispatched operations, or what a launch refers to."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pytest_dsbench.check import Watch  # noqa: E402
from pytest_dsbench.provenance import computed, fallback, functions  # noqa: E402
from pytest_dsbench.provider import Provider  # noqa: E402
from pytest_dsbench.tensors import Guarded  # noqa: E402


def kernel(*_: Any) -> None:
    """Stands for a function of a kernel library that torch does not see."""


class Jit:
    """Stands for a Triton kernel: no function, but made of one."""

    def __init__(self, fn: Any) -> None:
        self.fn = fn

    def __call__(self, *_: Any) -> None:
        return None


class Module:
    def __call__(self) -> None:
        return None

    def replay(self) -> None:
        return None


ours = f"{__name__}."
tuned = Jit(Jit(kernel))


def test_dispatched_operations_come_first() -> None:
    seen = ("aten.empty", "aten.mul", "sgl_kernel.rmsnorm", "aten.view", "aten._scaled_mm")
    assert functions(lambda: kernel(), seen) == computed(seen) == ("aten.mul", "sgl_kernel.rmsnorm", "aten._scaled_mm")


def test_allocating_and_viewing_is_not_computing() -> None:
    watch = Watch(Guarded())
    x = torch.ones(4, 6)
    with watch:
        out = torch.empty_like(x)
        out.copy_(x.view(6, 4).t().contiguous()[:, :6])
        torch.zeros(3).fill_(2)
        first, _ = x.chunk(2, -1)
        first.reshape(-1).unsqueeze(0).expand(2, -1).to(torch.bfloat16).clone().narrow(0, 0, 1)
        x.split([2, 4], 1), x.unbind(0), x.permute(1, 0).squeeze(), x.new_zeros(2), torch.arange(3), torch.full((2,), 1.0)
    assert computed(tuple(watch.seen)) == ()
    with watch:
        x.softmax(-1)
    assert computed(tuple(watch.seen)) == ("aten._softmax",)
    # Of another library nothing is left out.
    assert computed(("mine.empty", "mine.copy_")) == ("mine.empty", "mine.copy_")


def a_closure() -> Callable[[], Any]:
    from os.path import join

    value, count = torch.ones(1), 3
    return lambda: (kernel(value, count), join)


def of_a_triton_kernel() -> Callable[[], Any]:
    return lambda: tuned(1)


def with_modules_and_types_only() -> Callable[[], Any]:
    return lambda: (math, int, Module)


NESTED = f"{ours}with_modules_and_types_only.<locals>.<lambda>"


@pytest.mark.parametrize(
    ("launch", "names"),
    [
        (a_closure(), {"posixpath.join", f"{ours}kernel"}),
        (of_a_triton_kernel(), {f"{ours}kernel"}),
        (with_modules_and_types_only(), {NESTED}),
        (partial(kernel, 1), {f"{ours}kernel"}),
        (partial(tuned, 1), {f"{ours}kernel"}),
        (Module(), {f"{ours}Module"}),
        (Module().replay, {f"{ours}Module.replay"}),
        (math.sqrt, {"math.sqrt"}),
        (tuned, {f"{ours}kernel"}),
    ],
)
def test_what_a_launch_refers_to(launch: Any, names: set[str]) -> None:
    assert set(functions(launch, ("aten.empty",))) == names


def named(name: str, needs: tuple[str, ...] = ("flashinfer-python",)) -> Provider:
    return Provider(name=name, prepare=lambda *_: kernel, needs=needs)


def test_a_library_that_falls_back_on_torch() -> None:
    seen = ("aten.empty", "flashinfer.norm", "aten.mul", "aten.mean")
    assert fallback(named("flashinfer"), seen) == ("computed with torch's own operations: aten.mul, aten.mean",)


@pytest.mark.parametrize(
    ("provider", "seen"),
    [
        (named("flashinfer"), ("aten.empty", "flashinfer.norm")),
        (named("flashinfer"), ()),
        (named("torch", ("torch",)), ("aten.mul",)),
        (named("torch_compile", ("torch",)), ("aten.mul",)),
        (named("mine", ()), ("aten.mul",)),
    ],
)
def test_no_fallback(provider: Provider, seen: tuple[str, ...]) -> None:
    assert fallback(provider, seen) == ()
