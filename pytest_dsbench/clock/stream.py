"""What a CUDA sample is made of: events, the block that lets the host get ahead, the flush. Importing this imports torch."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

# Taken when this module is loaded, before any provider is: a kernel's library cannot replace them later.
_Event = torch.cuda.Event
_record = torch.cuda.Event.record
_elapsed = torch.cuda.Event.elapsed_time
synchronize = torch.cuda.synchronize
#: Keeps the current stream busy for so many cycles of the SM clock.
sleep: Callable[[int], None] = torch.cuda._sleep

#: The block is lengthened this often at most.
_DOUBLINGS = 3
#: Share of a batch that may be enqueued late; one interruption of the host does not move a median.
_LATE = 1 / 8
#: Cycles that take about a millisecond.
_CALIBRATION = 2_000_000


class Stopwatch:
    """Two events on the current stream of the current device; their time is the GPU's own."""

    def __init__(self) -> None:
        self._start = _Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._stop = _Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def start(self, stream: torch.cuda.Stream) -> None:
        """Enqueues the first event."""
        _record(self._start, stream)

    def stop(self, stream: torch.cuda.Stream) -> None:
        """Enqueues the second event."""
        _record(self._stop, stream)

    def seconds(self) -> float:
        """Seconds between the two, once both have passed; torch gives milliseconds."""
        return float(_elapsed(self._start, self._stop)) * 1e-3


@dataclass
class Block:
    """How long the stream is blocked before a sample, so that the host has enqueued all of it when the GPU begins."""

    seconds: float
    doublings: int = 0
    host_bound: bool = False

    def accepts(self, host: Sequence[float]) -> bool:
        """Whether a batch that the host took these times to enqueue counts; if not, the block is longer now: draw it again."""
        late = sum(took > self.seconds for took in host)
        if self.host_bound or late <= _LATE * len(host):
            return True
        if self.doublings == _DOUBLINGS:
            self.host_bound = True
            return True
        self.seconds *= 2
        self.doublings += 1
        return False


class Flush:
    """Evicts all that is in the L2: writes twice its size, then reads its size elsewhere, so that only clean lines are left."""

    def __init__(self, l2: int) -> None:
        self._written = torch.empty(2 * l2 // 4, dtype=torch.float32, device="cuda")
        self._read = torch.zeros(l2 // 4, dtype=torch.float32, device="cuda")
        self._sum = torch.zeros((), dtype=torch.float32, device="cuda")

    def __call__(self) -> None:
        self._written.zero_()
        torch.sum(self._read, dim=0, out=self._sum)


def cycles_per_second() -> float:
    """How fast the counter runs that `sleep` waits for, measured now."""
    watch, stream = Stopwatch(), torch.cuda.current_stream()
    watch.start(stream)
    sleep(_CALIBRATION)
    watch.stop(stream)
    synchronize()
    return _CALIBRATION / watch.seconds()


def reset_persisting_l2() -> None:
    """Makes lines that a kernel asked to keep in the L2 ordinary again, so that the flush can evict them."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    reset = getattr(driver, "cuCtxResetPersistingL2Cache", None)
    if reset is not None:
        reset()
