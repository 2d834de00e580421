"""The providers: what they need, and how they call their libraries; a library that is not here is stood in for."""

import sys
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_dsbench import provider as home
from pytest_dsbench import providers
from pytest_dsbench.check import compare, named
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import everything, find
from pytest_dsbench.operators.block_scaled_mm import BlockScaledMm, dequantised
from pytest_dsbench.provider import Provider
from pytest_dsbench.providers import flashinfer, sgl_kernel
from pytest_dsbench.providers.torch_native import activation, gemm, norm
from pytest_dsbench.tensors import make

providers.load()
COMPILED = [
    ("rms_norm", {"tokens": 3, "hidden": 40}),
    ("fused_add_rms_norm", {"tokens": 3, "hidden": 40}),
    ("silu_and_mul", {"tokens": 3, "hidden": 40}),
    ("layer_norm", {"tokens": 3, "hidden": 40}),
    ("fp8_dynamic_per_token_quant", {"tokens": 3, "hidden": 40}),
]


def passes(op: Operator, provider: Provider) -> None:
    inputs = make(op, "cpu")
    right = op.reference(**{name: value.clone() for name, value in inputs.items()})
    want = dict(zip(op.outputs(), right if isinstance(right, tuple) else (right,), strict=True))
    got = named(provider.prepare(op, **inputs)(), op.outputs(), "cpu")
    compare(op, inputs, got, want)


def provider(needs: str | tuple[str, ...] = (), devices: tuple[str, ...] = ("cuda",)) -> Provider:
    return Provider(
        name="some", prepare=lambda _: lambda: None, needs=(needs,) if isinstance(needs, str) else needs, devices=devices
    )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Stands in for the installed distributions: name to version."""
    versions: dict[str, str] = {}
    monkeypatch.setattr(home, "_version", versions.get)
    return versions


def test_absent_on_another_device() -> None:
    assert provider().absent("cpu") == "runs on cuda, the device here is the cpu"
    assert provider(devices=("cpu",)).absent("cuda") == "runs on cpu, the device here is cuda"
    assert provider(devices=("cpu", "cuda")).absent("cpu") is None


def test_absent_where_a_package_is_missing(installed: dict[str, str]) -> None:
    needing = provider(("torch", "a-kernel|b-kernel"))
    assert needing.absent("cuda") == "needs torch, not installed here"
    installed["torch"] = "2.13"
    assert needing.absent("cuda") == "needs a-kernel or b-kernel, not installed here"
    installed["b-kernel"] = "0.4"
    assert needing.absent("cuda") is None
    assert needing.packages() == {"torch": "2.13", "b-kernel": "0.4"}


def test_packages_are_looked_up_in_the_metadata() -> None:
    assert provider("pytest").packages() == {"pytest": pytest.__version__}
    assert provider("no-such-distribution").packages() == {}


def test_every_operator_has_a_torch_provider_for_any_device() -> None:
    for cls in everything().values():
        if cls.__module__.startswith("pytest_dsbench."):
            assert cls.providers["torch"].devices == ("cpu", "cuda"), cls.name


def test_torch_compile_is_opt_in() -> None:
    for name, _ in COMPILED:
        assert find(name).providers["torch_compile"].opt_in


@pytest.fixture
def without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces what torch.compile would compile and runs it as it is."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


@pytest.mark.usefixtures("without_a_compiler")
@pytest.mark.parametrize(("name", "dims"), COMPILED)
def test_torch_compile_traces_the_same_compositions(name: str, dims: dict[str, Any]) -> None:
    op = find(name).build(dims)
    passes(op, op.providers["torch_compile"])


@pytest.mark.usefixtures("without_a_compiler")
def test_torch_compile_never_runs_out_of_shapes() -> None:
    # Dynamo gives up on a function after eight shapes of it.
    for tokens in range(1, 12):
        op = find("rms_norm").build({"tokens": tokens, "hidden": 16})
        passes(op, op.providers["torch_compile"])


@pytest.mark.parametrize("dims", [{"m": 8, "n": 128, "k": 128}, {"m": 5, "n": 256, "k": 640}, {"m": 1, "n": 128, "k": 512}])
def test_native_block_scaling_gets_its_layouts(dims: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """torch checks the layouts on the meta device; a stand-in that reads them shows that each scale meets its block."""
    op = BlockScaledMm.build(dims)
    meta = make(op, "meta")
    launch = gemm._scaled_mm(meta["a"], meta["b"], meta["a_scales"], meta["b_scales"], torch.float32)
    assert launch().shape == (op.m, op.n)

    def scaled_mm(
        a: Tensor, b: Tensor, a_scales: Tensor, _: object, b_scales: Tensor, __: object, output_dtype: torch.dtype
    ) -> Tensor:
        assert len(a) % 4 == 0 and len(b_scales) % 4 == 0
        wide = dequantised(b.T, b_scales[: op.k // 128].T.contiguous())
        return (dequantised(a, a_scales.contiguous()) @ wide.T).to(output_dtype)

    monkeypatch.setattr(torch.nn.functional, "scaled_mm", scaled_mm)
    inputs = make(op, "cpu")
    launch = gemm._scaled_mm(inputs["a"], inputs["b"], inputs["a_scales"], inputs["b_scales"], torch.float32)
    for content in (1, 2):
        changed = make(op, "cpu", content)
        inputs["a"].copy_(changed["a"])
        inputs["a_scales"].copy_(changed["a_scales"])
        compare(op, inputs, {"out": launch()}, {"out": op.reference(**inputs)})


@pytest.mark.parametrize(
    ("dims", "capability", "cuda", "native"),
    [
        ({}, (9, 0), "12.9", True),
        ({}, (9, 0), "13.0", True),
        ({}, (9, 0), "12.8", False),
        ({}, (10, 0), "13.0", False),
        ({}, (9, 0), None, False),
        ({"group_n": 64}, (9, 0), "13.0", False),
        ({"out_dtype": "fp16"}, (9, 0), "13.0", False),
    ],
)
def test_native_block_scaling_only_where_it_is(
    dims: dict[str, Any], capability: tuple[int, int], cuda: str | None, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    op = BlockScaledMm.build({"m": 1, "n": 128, "k": 128, **dims})
    assert gemm.native_block_scaling(op, make(op, "meta")["a"]) == native


class Calls(list[tuple[str, bool]]):
    """Kernels that were called, each with its choice of programmatic dependent launch."""

    def rmsnorm(self, out: Tensor, x: Tensor, weight: Tensor, eps: float, enable_pdl: bool) -> None:
        self.append(("rmsnorm", enable_pdl))
        out.copy_(norm.rms_norm(x, weight, eps))

    def fused_add_rmsnorm(self, x: Tensor, residual: Tensor, weight: Tensor, eps: float, enable_pdl: bool) -> None:
        self.append(("fused_add_rmsnorm", enable_pdl))
        out, total = norm.add_rms_norm(x, residual, weight, eps)
        x.copy_(out)
        residual.copy_(total)

    def silu_and_mul(self, out: Tensor, x: Tensor, enable_pdl: bool = True) -> None:
        self.append(("silu_and_mul", enable_pdl))
        out.copy_(activation.silu_and_mul(x))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Stands in for flashinfer and sgl_kernel, with the signatures of their published wheels."""
    found = Calls()
    fi_norm, fi_activation, sgl = ModuleType("flashinfer.norm"), ModuleType("flashinfer.activation"), ModuleType("sgl_kernel")

    def rmsnorm(input: Tensor, weight: Tensor, eps: float = 1e-6, out: Any = None, enable_pdl: Any = None) -> Tensor:  # noqa: A002
        found.rmsnorm(out, input, weight, eps, enable_pdl)
        return out  # type: ignore[no-any-return]

    def silu_and_mul(input: Tensor, out: Any = None, enable_pdl: Any = None) -> Tensor:  # noqa: A002
        found.silu_and_mul(out, input, enable_pdl)
        return out  # type: ignore[no-any-return]

    fi_norm.rmsnorm, fi_norm.fused_add_rmsnorm = rmsnorm, found.fused_add_rmsnorm  # type: ignore[attr-defined]
    fi_activation.silu_and_mul = silu_and_mul  # type: ignore[attr-defined]
    for name, module in (("flashinfer.norm", fi_norm), ("flashinfer.activation", fi_activation), ("sgl_kernel", sgl)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "flashinfer", ModuleType("flashinfer"))

    class Default:
        def __init__(self, kernel: Any) -> None:
            self.default = kernel

    kernels = ModuleType("kernels")
    for name in ("rmsnorm", "fused_add_rmsnorm", "silu_and_mul"):
        setattr(kernels, name, Default(getattr(found, name)))
    monkeypatch.setattr(torch.ops, "sgl_kernel", kernels, raising=False)
    for module in (flashinfer, sgl_kernel):
        monkeypatch.setattr(module, "pdl", lambda _: True)
    return found


@pytest.mark.parametrize("library", ["flashinfer", "sgl_kernel"])
@pytest.mark.parametrize(
    ("name", "kernel"), [("rms_norm", "rmsnorm"), ("fused_add_rms_norm", "fused_add_rmsnorm"), ("silu_and_mul", "silu_and_mul")]
)
def test_kernel_libraries_are_called_as_published(library: str, name: str, kernel: str, calls: Calls) -> None:
    op = find(name).build({"tokens": 5, "hidden": 32})
    found = op.providers[library]
    assert found.devices == ("cuda",)
    assert found.inplace == (("x", "residual") if name == "fused_add_rms_norm" else ())
    passes(op, found)
    assert calls == [(kernel, True)]


def test_either_distribution_of_sgl_kernel_will_do(installed: dict[str, str]) -> None:
    found = find("rms_norm").providers["sgl_kernel"]
    installed["torch"] = "2.13"
    assert found.absent("cuda") == "needs sgl-kernel or sglang-kernel, not installed here"
    for name in ("sgl-kernel", "sglang-kernel"):
        installed[name] = "0.4"
        assert found.absent("cuda") is None
        del installed[name]
