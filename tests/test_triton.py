"""The Triton kernels without a GPU: right in Triton's interpreter, and compiled for Hopper and Blackwell as they are launched."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the kernels allocate with torch")
pytest.importorskip("triton", reason="triton is not installed")
pytest.importorskip("numpy", reason="Triton's interpreter needs numpy, which triton does not declare")

import torch
import triton

from pytest_dsbench.operator import Unsupported
from pytest_dsbench.operators.fp8_dynamic_per_token_quant import Fp8DynamicPerTokenQuant
from pytest_dsbench.operators.rms_norm import RmsNorm
from pytest_dsbench.operators.silu_and_mul import SiluAndMul
from pytest_dsbench.providers.triton import quant

_HERE = Path(__file__).parent
_INTERPRETED = os.environ.get("TRITON_INTERPRET", "") not in ("", "0")
#: Hopper and Blackwell, as Triton counts them.
_ARCHES = (90, 100)

compiled = pytest.mark.skipif(_INTERPRETED, reason="under TRITON_INTERPRET Triton compiles nothing")


@pytest.mark.parametrize("what", ["rms_norm", "silu_and_mul", "fp8_dynamic_per_token_quant", "rounding"])
def test_right_in_the_interpreter(what: str) -> None:
    # Triton chooses when a kernel is decorated, for the life of the process: hence a process of its own.
    paths = [str(_HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(_HERE / "triton_interpreted.py"), what],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok  ") >= 3


@compiled
@pytest.mark.parametrize("operator", [RmsNorm, SiluAndMul, Fp8DynamicPerTokenQuant])
def test_needs_a_gpu_where_nothing_is_interpreted(operator: Any) -> None:
    assert operator.providers["triton"].absent("cuda") is None
    assert "runs on cuda" in operator.providers["triton"].absent("cpu")


def test_refuses_the_encoding_that_triton_cannot_write_on_nvidia() -> None:
    op = Fp8DynamicPerTokenQuant(tokens=1, hidden=8, fp8="fp8_e4m3fnuz")
    with pytest.raises(Unsupported, match="cannot write fp8_e4m3fnuz"):
        quant._fp8_dynamic_per_token_quant(op, torch.zeros(1, 8))


class Launch:
    """Stands for a kernel and keeps what it was launched with."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.grid: Any = None
        self.args: dict[str, Any] = {}

    def __getitem__(self, grid: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> None:
            self.grid = grid
            self.args = dict(zip(self.kernel.arg_names, args, strict=False)) | kwargs

        return call

    def configs(self) -> list[Any]:
        """The configurations among which this launch would be tuned."""
        prune = self.kernel.early_config_prune
        return prune(self.kernel.configs, self.args, **self.args) if prune else self.kernel.configs

    def compile(self, arch: int, config: Any) -> Any:
        """What the GPU would run: pointers and sizes that 16 divides are promised to the compiler, as at a launch."""
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        options = config.all_kwargs()
        kernel = self.kernel.fn
        given = self.args | {name: options.pop(name) for name in list(options) if name in kernel.arg_names}
        signature, constants, even = {}, {}, {}
        for place, parameter in enumerate(kernel.params):
            value = given[parameter.name]
            signature[parameter.name] = "constexpr" if parameter.is_constexpr else _type(value)
            if parameter.is_constexpr:
                constants[(place,)] = value
            elif isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0):
                even[(place,)] = [["tt.divisibility", 16]]
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=even)
        return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)


_TYPES = {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.float8_e4m3fn: "*fp8e4nv"}


def _type(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return _TYPES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A function (kernel, tokens, hidden) -> Launch: what our wrapper would launch for that shape."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    originals: dict[str, Any] = {}

    def launch(name: str, tokens: int, hidden: int) -> Launch:
        from pytest_dsbench.kernels import fp8_quant, rms_norm, silu_and_mul

        module, _, kernel = name.partition(".")
        home = {"rms_norm": rms_norm, "silu_and_mul": silu_and_mul, "fp8_quant": fp8_quant}[module]
        spy = Launch(originals.setdefault(name, getattr(home, kernel)))
        monkeypatch.setattr(home, kernel, spy)
        longest = {"longest": 64} if kernel == "long_row" else {}
        x = torch.empty(tokens, hidden, dtype=torch.bfloat16)
        if home is rms_norm:
            rms_norm.rms_norm(x, x[0], 1e-6, **longest)
        elif home is silu_and_mul:
            silu_and_mul.silu_and_mul(torch.empty(tokens, 2 * hidden, dtype=torch.bfloat16))
        else:
            fp8_quant.fp8_quant(x, **longest)
        return spy

    return launch


KERNELS = ["rms_norm.whole_rows", "rms_norm.long_row", "silu_and_mul.gated", "fp8_quant.whole_rows", "fp8_quant.long_row"]


@compiled
@pytest.mark.parametrize("arch", _ARCHES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_compiles_in_every_configuration_with_wide_accesses(launched: Any, kernel: str, arch: int) -> None:
    launch = launched(kernel, tokens=64, hidden=1536)
    configs = launch.configs()
    assert len(configs) > 1
    for config in configs:
        built = launch.compile(arch, config)
        assert len(built.asm["cubin"]) > 0
        # 16 bytes per thread and access, into registers or, in pipelined loops, into shared memory.
        assert re.search(r"ld\.global\S*\.v4\.b32|cp\.async\.cg\S* .*, 0x10,", built.asm["ptx"]), config
        if "fp8" in kernel:
            assert "cvt.rn.satfinite.e4m3x2.f32" in built.asm["ptx"]


@compiled
@pytest.mark.parametrize("arch", _ARCHES)
@pytest.mark.parametrize("hidden", [1, 129])
@pytest.mark.parametrize("kernel", KERNELS)
def test_compiles_for_odd_sizes(launched: Any, kernel: str, hidden: int, arch: int) -> None:
    if kernel.endswith("long_row") and hidden == 1:
        hidden = 4097
    launch = launched(kernel, tokens=3, hidden=hidden)
    assert len(launch.compile(arch, launch.configs()[0]).asm["cubin"]) > 0


def _tiles() -> Iterator[tuple[int, int]]:
    for hidden in (1, 2, 3, 64, 127, 128, 768, 1000, 1536, 2048, 7168, 16384):
        for tokens in (1, 2, 7, 64, 4097):
            yield tokens, hidden


@compiled
@pytest.mark.parametrize("kernel", ["rms_norm.whole_rows", "silu_and_mul.gated", "fp8_quant.whole_rows"])
def test_every_configuration_covers_every_element(launched: Any, kernel: str) -> None:
    for tokens, hidden in _tiles():
        launch = launched(kernel, tokens, hidden)
        block = launch.args["BLOCK"]
        for config in launch.configs():
            rows = max(config.kwargs["TILE"] // block, 1)
            assert launch.grid(config.kwargs) == (-(-tokens // rows) * -(-hidden // block),)
            assert 8 <= rows * block / (32 * config.num_warps) <= 32


@compiled
def test_no_lane_idles_where_a_power_of_two_divides_the_width() -> None:
    from pytest_dsbench.kernels.silu_and_mul import columns

    assert [columns(hidden) for hidden in (768, 1280, 1536, 2048, 28672)] == [256, 256, 512, 1024, 1024]
    assert [columns(hidden) for hidden in (1, 100, 129, 1000, 5001)] == [1, 128, 256, 1024, 1024]


@compiled
def test_tuning_is_not_seen_by_the_correctness_check(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_dsbench.check import Watch
    from pytest_dsbench.kernels import launch
    from pytest_dsbench.tensors import Guarded

    def clears_a_cache(_call: Any, **_: Any) -> list[float]:
        torch.empty(16).zero_()
        return [1.0, 1.0, 1.0]

    monkeypatch.setattr(launch.triton.testing, "do_bench", clears_a_cache)
    with Watch(Guarded()) as watch:
        assert launch._time(lambda: None, (0.5, 0.2, 0.8)) == [1.0, 1.0, 1.0]
        torch.empty(3)
    assert list(watch.seen) == ["aten.empty"]
