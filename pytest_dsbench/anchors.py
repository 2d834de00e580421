"""Three times that no change of a kernel can move: they tell "the machine moved" from "the code moved"."""

from collections.abc import Callable
from functools import lru_cache
from statistics import median
from subprocess import CalledProcessError
from time import perf_counter
from typing import Any

from .provider import Launch
from .record import Record

_now = perf_counter

#: The copy moves this many times the last-level cache.
_BEYOND = 4
_FEW = 9
#: About 0.6 ms of multiply-adds at 8 programs per SM and 1.7 GHz.
_ROUNDS = 16384
_PROGRAMS_PER_SM = 8


class Anchors(Record):
    """The anchors at one moment, in seconds; comparable with those of another only where `compute_kind` is the same."""

    copy_seconds: float
    compute_seconds: float
    #: an empty launch: the launch floor
    launch_seconds: float
    #: what computed: "triton fma", "torch matmul" or "torch lgamma"
    compute_kind: str

    def of(self, by: str) -> float:
        """Seconds of the anchor of a case that is bound by "memory" or "compute"."""
        return self.compute_seconds if by == "compute" else self.copy_seconds


def measure(device: str, llc: float) -> Anchors:
    """The anchors of `device` ("cpu", "cuda", "cuda:1"), whose last-level cache has `llc` bytes; 10 to 40 ms.

    The first call in a process takes longer: it brings the buffers into memory and compiles.
    """
    return _cpu(int(llc)) if device == "cpu" else _cuda(device, int(llc))


def _cpu(llc: int) -> Anchors:
    import torch

    source, target = _cpu_buffers(_BEYOND * llc // 2)
    # Of one thread and in the cache: threads that wait for each other on a busy machine would say nothing of its arithmetic.
    values, one = torch.full((1024,), 3.5), torch.zeros(1)
    result = torch.empty_like(values)
    return Anchors(
        copy_seconds=_best(lambda: target.copy_(source)),
        compute_seconds=_best(lambda: [torch.lgamma(values, out=result) for _ in range(50)]),
        launch_seconds=_best(lambda: [one.zero_() for _ in range(100)]) / 100,
        compute_kind="torch lgamma",
    )


@lru_cache(maxsize=1)
def _cpu_buffers(size: int) -> tuple[Any, Any]:
    """Source and target of the copy, kept: bringing new pages into memory takes far longer than copying them."""
    import torch

    return torch.ones(size, dtype=torch.uint8), torch.ones(size, dtype=torch.uint8)


def _best(call: Callable[[], object]) -> float:
    """The shortest of a few calls, within about 30 ms: on a shared host the minimum repeats, as in the CPU clock."""
    call()
    best, started, calls = float("inf"), _now(), 0
    while calls < 3 or (calls < _FEW and _now() - started < 0.030):
        began = _now()
        call()
        best = min(best, _now() - began)
        calls += 1
    return best


def _cuda(device: str, l2: int) -> Anchors:
    import torch

    from .clock.cuda import CudaClock
    from .clock.stream import sleep

    index = torch.device(device).index
    clock = CudaClock(torch.cuda.current_device() if index is None else index, l2, cold=False)
    source = torch.ones(_BEYOND * l2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    compute, kind = _cuda_compute(device)
    return Anchors(
        copy_seconds=median(clock.few(lambda: target.copy_(source), _FEW)),
        compute_seconds=median(clock.few(compute, _FEW)),
        launch_seconds=median(clock.few(lambda: sleep(0), _FEW)),
        compute_kind=kind,
    )


def _cuda_compute(device: str) -> tuple[Launch, str]:
    """The compute anchor, already compiled: multiply-adds in registers, or a matmul where triton is missing or cannot compile."""
    import torch

    with torch.cuda.device(device):
        try:
            launch = _fma(device)
            launch()
        except (ImportError, RuntimeError, CalledProcessError):
            matrix = torch.full((2048, 2048), 0.5, dtype=torch.float32, device=device)
            product = torch.empty_like(matrix)
            return lambda: torch.mm(matrix, matrix, out=product), "torch matmul"
    return launch, "triton fma"


def _fma(device: str) -> Launch:
    """The loop of multiply-adds on every SM."""
    import torch

    from .kernels.fma import BLOCK, OPTIONS, fma_loop

    programs = _PROGRAMS_PER_SM * torch.cuda.get_device_properties(device).multi_processor_count
    out = torch.empty(programs * BLOCK, dtype=torch.float32, device=device)
    return lambda: fma_loop[(programs,)](out, 0.999, _ROUNDS, BLOCK=BLOCK, **OPTIONS)
