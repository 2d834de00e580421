"""The kernel of causal_conv1d without a GPU: right in Triton's interpreter in every configuration, and compiled as intended."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the kernels allocate with torch")
pytest.importorskip("triton", reason="triton is not installed")
pytest.importorskip("numpy", reason="Triton's interpreter needs numpy, which triton does not declare")

from triton_launches import launches

from pytest_dsbench import providers
from pytest_dsbench.operators.causal_conv1d import CausalConv1d
from pytest_dsbench.provider import Unsupported
from pytest_dsbench.tensors import make

providers.load()
_HERE = Path(__file__).parent
compiled = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET", "") not in ("", "0"), reason="under TRITON_INTERPRET Triton compiles nothing"
)


def test_right_in_the_interpreter_at_every_edge() -> None:
    # Triton chooses when a kernel is decorated, for the life of the process: hence a process of its own.
    paths = [str(_HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(_HERE / "triton_interpreted_linear_attention.py")],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok  ") > 30


@compiled
@pytest.mark.parametrize(
    ("arch", "tokens", "channels", "dtype"),
    [
        (90, 1024, 4096, "bf16"),
        (90, 14807, 8192, "bf16"),
        (100, 14807, 8192, "bf16"),
        (90, 514, 4096, "fp16"),
        (90, 1, 8192, "bf16"),
    ],
)
def test_reads_and_writes_in_wide_pieces(
    arch: int, tokens: int, channels: int, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    op = CausalConv1d(tokens=tokens, channels=channels, dtype=dtype)
    found = launches(op)
    assert len(found) > 1
    for launch in found:
        built = launch.compile(arch)
        assert len(built.asm["cubin"]) > 0
        ptx = built.asm["ptx"]
        groups = launch.given["TILE"] // 8 // (32 * launch.given["num_warps"])
        # Each thread reads its groups of eight tokens and those before them, and writes its own: 16 bytes at a time.
        assert len(re.findall(r"ld\.global\S*\.v4\.b32", ptx)) == 2 * groups
        assert len(re.findall(r"st\.global\S*\.v4\.b32", ptx)) == groups
        # Only the ends of channels that begin within a group are written token by token.
        assert len(re.findall(r"st\.global\S*\.b16", ptx)) == (8 * groups if op.tokens % 8 else 0)
        # Tokens meet in registers.
        if op.tokens > 8:
            assert built.metadata.shared == 0


@compiled
@pytest.mark.parametrize(("tokens", "channels"), [(1, 1), (16, 1), (4195, 8191)])
@pytest.mark.parametrize(("width", "dtype"), [(4, "bf16"), (2, "bf16"), (9, "fp32")])
def test_compiles_for_odd_sizes(
    tokens: int, channels: int, width: int, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    op = CausalConv1d(tokens=tokens, channels=channels, width=width, dtype=dtype)
    assert len(launches(op)[0].compile(90).asm["cubin"]) > 0


def test_refuses_filters_that_reach_too_far() -> None:
    op = CausalConv1d(tokens=3, channels=2, width=10)
    with pytest.raises(Unsupported, match="width = 10: .* up to 9"):
        op.providers["triton"].prepare(op, **make(op, "cpu"))


@compiled
def test_needs_a_gpu_where_nothing_is_interpreted() -> None:
    assert CausalConv1d.providers["triton"].absent("cuda") is None
    assert "runs on cuda" in str(CausalConv1d.providers["triton"].absent("cpu"))
