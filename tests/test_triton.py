"""The Triton kernels without a GPU: right in Triton's interpreter, and compiled for Hopper and Blackwell as they are launched.

Every operator with a provider "triton" is tested here; `triton_cases` says at which sizes.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

pytest.importorskip("torch", reason="the kernels allocate with torch")
pytest.importorskip("triton", reason="triton is not installed")
pytest.importorskip("numpy", reason="Triton's interpreter needs numpy, which triton does not declare")

import torch
import triton_cases as cases
from triton_cases import OPERATORS, ROW_WISE
from triton_launches import Launch, launches

from pytest_dsbench.operator import Operator
from pytest_dsbench.operators.fp8_dynamic_per_token_quant import Fp8DynamicPerTokenQuant
from pytest_dsbench.operators.layer_norm import LayerNorm
from pytest_dsbench.provider import Unsupported

_HERE = Path(__file__).parent
_KERNELS = _HERE.parent / "pytest_dsbench" / "kernels"
_INTERPRETED = os.environ.get("TRITON_INTERPRET", "") not in ("", "0")
#: Hopper and Blackwell, as Triton counts them.
_ARCHES = (90, 100)
#: Seconds for all sizes of one operator in the interpreter.
_PATIENCE = 300

compiled = pytest.mark.skipif(_INTERPRETED, reason="under TRITON_INTERPRET Triton compiles nothing")
of_every_operator = pytest.mark.parametrize("name", OPERATORS)
of_every_architecture = pytest.mark.parametrize("arch", _ARCHES)


class Interpreter:
    """A process in which kernels are interpreted: Triton chooses when they are decorated, for the life of the process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def _running(self) -> subprocess.Popen[str]:
        """The process; a new one where an operator has ended the last."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        paths = [str(_HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(_HERE / "triton_interpreted.py")],
            env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self._process

    def close(self) -> None:
        if self._process is not None:
            # Its input ends, so that it does too, and both pipes are closed.
            with self._process:
                pass

    def ask(self, name: str) -> tuple[bool, str]:
        """Whether all is right with an operator, and what was printed about it."""
        process = self._running()
        assert process.stdin and process.stdout
        process.stdin.write(f"{name}\n")
        process.stdin.flush()
        said: list[str] = []
        too_long = Timer(_PATIENCE, process.kill)
        too_long.start()
        try:
            for line in process.stdout:
                if line.startswith("done "):
                    return line == "done right\n", "".join(said)
                said.append(line)
        finally:
            too_long.cancel()
        return False, "".join([*said, f"the process ended: {process.wait()}"])


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    made = Interpreter()
    yield made
    made.close()


@pytest.mark.parametrize("what", [*OPERATORS, "rounding", "ties", "skipped slots"])
def test_right_in_the_interpreter(interpreter: Interpreter, what: str) -> None:
    right, said = interpreter.ask(what)
    assert right, said
    assert what not in OPERATORS or "ok   broken, " in said
    assert said.count("ok  ") >= 3


def test_the_tables_name_operators_with_a_kernel() -> None:
    named = {
        *ROW_WISE,
        *cases.ROWS_PER_TOKEN,
        *cases.IN_PIECES,
        *cases.MORE,
        *cases.COMPILED,
        *cases.NEEDS_VALUES,
        *cases.ONLY_WRITTEN,
    }
    assert named <= set(OPERATORS)
    assert all((_KERNELS / f"{name.partition('.')[0]}.py").exists() for name in cases.NARROW)
    assert set(cases.ROWS_PER_TOKEN) | set(cases.IN_PIECES) <= set(ROW_WISE)


@compiled
@of_every_operator
def test_needs_a_gpu_where_nothing_is_interpreted(name: str) -> None:
    provider = OPERATORS[name].providers["triton"]
    assert provider.absent("cuda") is None
    assert "runs on cuda" in str(provider.absent("cpu"))


def test_refuses_what_triton_or_a_gpu_cannot_do() -> None:
    quantised = Fp8DynamicPerTokenQuant(tokens=1, hidden=8, fp8="fp8_e4m3fnuz")
    with pytest.raises(Unsupported, match="cannot write fp8_e4m3fnuz"):
        quantised.providers["triton"].prepare(quantised, torch.zeros(1, 8))
    wide = LayerNorm(tokens=1, hidden=40000)
    with pytest.raises(Unsupported, match="hidden = 40000: this kernel keeps rows in registers, up to 32768 elements"):
        wide.providers["triton"].prepare(wide, *[torch.zeros(1, 40000)] * 3)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def recorded(op: Operator) -> list[Launch]:
    found = launches(op, "cpu" if op.name in cases.NEEDS_VALUES else "meta")
    assert found
    return found


def first_and_last(found: list[Launch]) -> list[Launch]:
    """The first and last configuration of every kernel."""
    ends = {launch.name: launch for launch in reversed(found)} | {f"last {launch.name}": launch for launch in found}
    return list({id(launch): launch for launch in ends.values()}.values())


@compiled
@of_every_architecture
@of_every_operator
def test_compiles_as_in_production(name: str, arch: int) -> None:
    first = arch == _ARCHES[0]
    thorough = name in ROW_WISE and first
    # What differs between architectures does not depend on the size: once for each of them the largest is enough.
    for op in cases.in_production(name)[0 if first else -1 :]:
        found = recorded(op)
        for launch in found if thorough else first_and_last(found):
            built = launch.compile(arch)
            assert len(built.asm["cubin"]) > 0
            # 16 bytes per thread and access, into registers or, in pipelined loops, into shared memory.
            wide = re.search(r"ld\.global\S*\.v4\.b32|cp\.async\.cg\S* .*, 0x10,|cp\.async\.bulk", built.asm["ptx"])
            assert wide or launch.name in cases.NARROW, (launch.name, launch.config)
        if any(spec.dtype == "fp8_e4m3" for spec in op.outputs().values()):
            assert "cvt.rn.satfinite.e4m3x2.f32" in built.asm["ptx"]


@compiled
@of_every_operator
def test_compiles_for_odd_sizes(name: str) -> None:
    done = 0
    for op in cases.small(name):
        try:
            found = recorded(op)
        except Unsupported:
            continue
        done += len(found[0].compile(_ARCHES[done]).asm["cubin"]) > 0
        if done == len(_ARCHES):
            return
    pytest.fail(f"only {done} of the sizes compile")


def _tiles() -> Iterator[tuple[int, int]]:
    for hidden in (1, 2, 3, 64, 127, 128, 768, 1000, 1536, 2048, 7168, 16384):
        for tokens in (1, 2, 7, 64, 4097):
            yield tokens, hidden


@compiled
@pytest.mark.parametrize("name", ROW_WISE)
def test_every_configuration_covers_every_element(name: str) -> None:
    for tokens, hidden in _tiles():
        for launch in recorded(OPERATORS[name].build(ROW_WISE[name](tokens, hidden))):
            block, tile = launch.given["BLOCK"], launch.given["TILE"]
            rows = max(tile // block, 1)
            assert launch.given["tokens"] == tokens * cases.ROWS_PER_TOKEN.get(name, 1)
            assert launch.given["hidden"] == hidden
            assert launch.programs == (-(-launch.given["tokens"] // rows) * -(-hidden // block),)
            assert 8 <= rows * block / (32 * launch.given["num_warps"]) <= 32


@compiled
def test_no_lane_idles_where_a_power_of_two_divides_the_width() -> None:
    from pytest_dsbench.kernels.tiles import columns

    assert [columns(hidden) for hidden in (768, 1280, 1536, 2048, 28672)] == [256, 256, 512, 1024, 1024]
    assert [columns(hidden) for hidden in (1, 100, 129, 1000, 5001)] == [1, 128, 256, 1024, 1024]
