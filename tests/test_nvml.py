"""NVML through a stand-in for pynvml: units, and None for whatever a GPU does not support."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_dsbench.nvml import Nvml


class NVMLError(Exception):
    """As pynvml's."""


def _raises(*_: Any) -> Any:
    raise NVMLError


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """pynvml with one GPU that supports everything."""
    made = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_GRAPHICS=0,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_ID_APP_CLOCK_TARGET=1,
        NVML_CLOCK_ID_APP_CLOCK_DEFAULT=2,
        NVML_PERF_POLICY_POWER=0,
        NVML_PERF_POLICY_THERMAL=1,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: ("index", index),
        nvmlDeviceGetHandleByUUID=lambda uuid: ("uuid", uuid),
        nvmlDeviceGetClockInfo=lambda *_: 1755,
        nvmlDeviceGetMaxClockInfo=lambda *_: 1980,
        nvmlDeviceGetClock=lambda *of: {1: 1410, 2: 1980}[of[-1]],
        nvmlDeviceGetViolationStatus=lambda *of: SimpleNamespace(violationTime=(of[-1] + 1) * 100),
        nvmlDeviceGetEnforcedPowerLimit=lambda _: 700_000,
        nvmlDeviceGetEccMode=lambda _: [1, 0],
        nvmlDeviceGetMigMode=lambda _: [0, 1],
        nvmlDeviceGetTemperature=lambda *_: 41,
        nvmlSystemGetDriverVersion=lambda: "570.86",
        nvmlDeviceGetComputeRunningProcesses=lambda _: [SimpleNamespace(pid=7), SimpleNamespace(pid=os.getpid())],
        nvmlSystemGetProcessName=lambda _: "train",
    )
    monkeypatch.setitem(sys.modules, "pynvml", made)  # type: ignore[arg-type]
    return made


@pytest.mark.usefixtures("library")
def test_units() -> None:
    gpu = Nvml.open(0)
    assert gpu is not None
    assert gpu.sm_clock() == 1.755e9
    assert gpu.max_sm_clock() == 1.98e9
    assert gpu.locked_clock() == 1.41e9
    assert gpu.violations() == 300
    assert gpu.power_limit() == 700
    assert (gpu.ecc(), gpu.mig()) == (True, False)
    assert gpu.temperature() == 41
    assert gpu.driver() == "570.86"
    assert gpu.processes() == [(7, "train")]


def test_what_is_not_supported_is_none(library: SimpleNamespace) -> None:
    for name in vars(library):
        if name.startswith(("nvmlDeviceGet", "nvmlSystem")) and "Handle" not in name:
            setattr(library, name, _raises)
    gpu = Nvml.open(0)
    assert gpu is not None
    answers = (gpu.sm_clock, gpu.max_sm_clock, gpu.locked_clock, gpu.violations, gpu.power_limit, gpu.ecc, gpu.mig)
    assert [answer() for answer in (*answers, gpu.temperature, gpu.driver)] == [None] * 9
    assert gpu.processes() == []


def test_an_applications_clock_at_its_default_is_no_lock(library: SimpleNamespace) -> None:
    library.nvmlDeviceGetClock = lambda *_: 1980
    gpu = Nvml.open(0)
    assert gpu is not None and gpu.locked_clock() is None


@pytest.mark.parametrize("given", ["1-2", "GPU-1-2"])
def test_a_uuid_with_and_without_its_kind(library: SimpleNamespace, given: str) -> None:
    asked = []
    library.nvmlDeviceGetHandleByUUID = asked.append
    Nvml.open(given)
    assert asked == ["GPU-1-2"]


def test_none_without_driver_or_package(library: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    library.nvmlInit = _raises
    assert Nvml.open(0) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Nvml.open(0) is None
