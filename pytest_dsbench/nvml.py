"""NVML: what the driver knows about a GPU. Optional (package nvidia-ml-py), and read-only: no setting is ever changed."""

import os
from importlib import import_module
from types import ModuleType
from typing import Any, Self

_HZ = 1e6
_WATT = 1e-3


class Nvml:
    """One GPU as NVML sees it; what a GPU or its driver does not support is None, never an exception."""

    def __init__(self, library: ModuleType, handle: Any) -> None:
        self._library = library
        self._handle = handle

    @classmethod
    def open(cls, gpu: str | int) -> Self | None:
        """The GPU of this UUID (with or without the "GPU-" in front) or index; None without the package, driver or GPU."""
        try:
            library = import_module("pynvml")
        except ImportError:
            return None
        try:
            library.nvmlInit()
            if isinstance(gpu, int):
                return cls(library, library.nvmlDeviceGetHandleByIndex(gpu))
            # CUDA and torch give the bare UUID; NVML wants it with its kind in front.
            name = gpu if gpu.startswith(("GPU-", "MIG-")) else f"GPU-{gpu}"
            return cls(library, library.nvmlDeviceGetHandleByUUID(name))
        except library.NVMLError:
            return None

    def _ask(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._library, function)(self._handle, *arguments)
        except self._library.NVMLError:
            return None

    def sm_clock(self) -> float | None:
        """The SM clock at this moment, in Hz."""
        return _scaled(self._ask("nvmlDeviceGetClockInfo", self._library.NVML_CLOCK_SM), _HZ)

    def max_sm_clock(self) -> float | None:
        """The highest SM clock this GPU can be given, in Hz."""
        return _scaled(self._ask("nvmlDeviceGetMaxClockInfo", self._library.NVML_CLOCK_SM), _HZ)

    def locked_clock(self) -> float | None:
        """The applications clock in Hz where somebody set one; None where it is the default.

        A lock by `nvidia-smi --lock-gpu-clocks` cannot be read back through NVML and is not seen here.
        """
        of = self._library
        target = self._ask("nvmlDeviceGetClock", of.NVML_CLOCK_GRAPHICS, of.NVML_CLOCK_ID_APP_CLOCK_TARGET)
        default = self._ask("nvmlDeviceGetClock", of.NVML_CLOCK_GRAPHICS, of.NVML_CLOCK_ID_APP_CLOCK_DEFAULT)
        return None if target is None or target == default else _scaled(target, _HZ)

    def violations(self) -> int | None:
        """Nanoseconds, counted since the driver was loaded, in which power or heat held the clocks down."""
        of = self._library
        found = [
            self._ask("nvmlDeviceGetViolationStatus", kind) for kind in (of.NVML_PERF_POLICY_POWER, of.NVML_PERF_POLICY_THERMAL)
        ]
        counted = [int(one.violationTime) for one in found if one is not None]
        return sum(counted) if counted else None

    def power_limit(self) -> float | None:
        """The power limit in force, in watts."""
        return _scaled(self._ask("nvmlDeviceGetEnforcedPowerLimit"), _WATT)

    def ecc(self) -> bool | None:
        """Whether ECC is on at this moment."""
        modes = self._ask("nvmlDeviceGetEccMode")
        return None if modes is None else bool(modes[0])

    def mig(self) -> bool | None:
        """Whether the GPU is split into MIG instances."""
        modes = self._ask("nvmlDeviceGetMigMode")
        return None if modes is None else bool(modes[0])

    def temperature(self) -> int | None:
        """Degrees Celsius of the GPU."""
        found = self._ask("nvmlDeviceGetTemperature", self._library.NVML_TEMPERATURE_GPU)
        return None if found is None else int(found)

    def driver(self) -> str | None:
        """The driver's version."""
        try:
            return str(self._library.nvmlSystemGetDriverVersion())
        except self._library.NVMLError:
            return None

    def processes(self) -> list[tuple[int, str]]:
        """(pid, name) of the other processes that compute on this GPU.

        Inside a container NVML may give the host's process numbers, and this process cannot be told from the others: ask before
        this process uses the GPU.
        """
        running = self._ask("nvmlDeviceGetComputeRunningProcesses") or []
        return [(int(one.pid), self._name(one.pid)) for one in running if one.pid != os.getpid()]

    def _name(self, pid: int) -> str:
        try:
            return str(self._library.nvmlSystemGetProcessName(pid))
        except self._library.NVMLError:
            return "unknown"


def _scaled(value: Any, unit: float) -> float | None:
    return None if value is None else float(value) * unit
