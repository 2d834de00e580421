"""How the Triton kernels are tuned: nobody sees it, neither the correctness check nor the tensors that a kernel works in."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

pytest.importorskip("torch", reason="the kernels allocate with torch")
pytest.importorskip("triton", reason="triton is not installed")

import torch
import triton
from torch import Tensor
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction
from triton_cases import ONLY_WRITTEN, OPERATORS, ROW_WISE, in_production
from triton_launches import Driver

from pytest_dsbench.check import Watch
from pytest_dsbench.kernels.launch import INTERPRETED, Timing
from pytest_dsbench.operator import Operator
from pytest_dsbench.tensors import Guarded, make

pytestmark = pytest.mark.skipif(INTERPRETED.value, reason="the interpreter tunes nothing")

_TIMED = 3


def _one_more(value: Tensor) -> Tensor:
    """value + 1; not every dtype knows how to add."""
    return (value.double() + 1).to(value.dtype)


_IN_PLACE = [name for name, kind in OPERATORS.items() if kind.providers["triton"].inplace]


def test_tuning_is_not_seen_by_the_correctness_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def clears_a_cache(_call: Any, **_: Any) -> list[float]:
        torch.empty(16).zero_()
        return [1.0, 1.0, 1.0]

    monkeypatch.setattr(triton.testing, "do_bench", clears_a_cache)
    with Watch(Guarded()) as watch:
        assert Timing()(lambda: None, (0.5, 0.2, 0.8)) == [1.0, 1.0, 1.0]
        torch.empty(3)
    assert list(watch.seen) == ["aten.empty"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The kernels run so far; each adds one to every tensor of its arguments, and is timed by calling it three times."""
    found: list[str] = []

    def run(self: Any, *args: Any, **options: Any) -> None:
        found.append(self.__name__)
        for value in (*args, *options.values()):
            if isinstance(value, Tensor):
                value.copy_(_one_more(value))

    def three_times(call: Any, **_: Any) -> list[float]:
        for _ in range(_TIMED):
            call()
        return [1.0, 1.0, 1.0]

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton.testing, "do_bench", three_times)
    monkeypatch.setattr(driver, "_active", Driver(90))
    monkeypatch.setattr(JITFunction, "run", run)
    return found


def _tuned_at(name: str) -> Operator:
    return OPERATORS[name].build(ROW_WISE[name](64, 256)) if name in ROW_WISE else in_production(name)[0]


@pytest.mark.parametrize("name", [name for name in _IN_PLACE if name not in ONLY_WRITTEN])
def test_tuning_leaves_what_a_kernel_works_in_as_it_was(ran: list[str], name: str) -> None:
    op = _tuned_at(name)
    inputs = make(op, "cpu")
    provider = op.providers["triton"]
    worked_in = {key: inputs[key].clone() for key in provider.inplace}
    provider.prepare(op, **inputs)()
    # More than one configuration has been timed, and then the best of them has run.
    assert len(ran) > 2 * _TIMED
    for key, before in worked_in.items():
        assert torch.equal(inputs[key], _one_more(before))


def test_a_configuration_that_fails_leaves_them_as_they_were_too() -> None:
    x = torch.arange(4.0)
    timing = Timing(("x",))

    def fails() -> None:
        timing.before({"x": x})
        x.zero_()
        raise RuntimeError("out of registers")

    with patch.object(triton.testing, "do_bench", lambda call, **_: call()), pytest.raises(RuntimeError, match="registers"):
        timing(fails, (0.5, 0.2, 0.8))
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
    timing.before({"x": x}, reset_only=True)
    assert not timing.kept
