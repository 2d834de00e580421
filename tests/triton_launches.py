"""What the provider "triton" would launch: its kernels with all that they are given, recorded instead of run, and compiled.

Nothing here knows a kernel: the provider is called as the harness calls it, and Triton's own launch code finds types and
specialisations, for a GPU that is not there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unittest.mock import patch

from triton.backends.compiler import GPUTarget
from triton.runtime.autotuner import Autotuner
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from pytest_dsbench.operator import Operator
from pytest_dsbench.tensors import make


class Driver:
    """Stands for the driver of a machine whose n-th GPU has compute capability n / 10."""

    def __init__(self, arch: int) -> None:
        self._arch = arch

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self._arch, 32)

    def get_current_device(self) -> int:
        return self._arch

    def get_current_stream(self, _device: int) -> int:
        return 0


@dataclass
class Launch:
    """One launch of one kernel, in one of the configurations among which it would be tuned."""

    kernel: Any
    grid: Any
    args: tuple[Any, ...]
    options: dict[str, Any]
    #: the configuration in words; empty for a kernel that is not tuned
    config: str = ""

    @property
    def name(self) -> str:
        """Module and function, such as rms_norm.whole_rows."""
        return f"{self.kernel.__module__.rpartition('.')[2]}.{self.kernel.__name__}"

    @cached_property
    def given(self) -> dict[str, Any]:
        """Everything that the kernel is given, by name, and the options of the launch, such as num_warps."""
        return dict(zip(self.kernel.arg_names, self.args, strict=False)) | self.options

    @cached_property
    def programs(self) -> tuple[int, ...]:
        """The grid."""
        return tuple(self.grid(self.given) if callable(self.grid) else self.grid)

    def compile(self, arch: int) -> Any:
        """What the GPU would run."""
        before = driver.active if driver._active else None
        driver.set_active(Driver(arch))
        try:
            return _run(self.kernel, *self.args, grid=self.grid, warmup=True, **self.options)
        finally:
            driver._active = before


_run = JITFunction.run


def launches(op: Operator, device: str = "meta") -> list[Launch]:
    """Every launch of one call of the provider, in every configuration; inputs are on `device`, "meta" or "cpu"."""
    with _recorded() as found:
        op.providers["triton"].prepare(op, **make(op, device))()
    return found


@contextmanager
def _recorded() -> Iterator[list[Launch]]:
    found: list[Launch] = []
    tuning: list[str] = []

    def tune(self: Any, *args: Any, **kwargs: Any) -> None:
        # As the autotuner does it, short of timing them.
        self.nargs = dict(zip(self.arg_names, args, strict=False))
        for config in self.prune_configs(kwargs):
            current = kwargs | config.all_kwargs()
            if config.pre_hook:
                config.pre_hook(self.nargs | current)
            tuning.append(str(config))
            self.fn.run(*args, **current)
            tuning.pop()

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        found.append(Launch(self, grid, args, options, tuning[-1] if tuning else ""))

    with patch.object(Autotuner, "run", tune), patch.object(JITFunction, "run", run):
        yield found
