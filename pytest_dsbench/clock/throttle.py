"""Watches the clocks of a GPU while a batch runs, and says when the batch must not count."""

from collections import deque
from statistics import median

from ..nvml import Nvml
from . import now

#: Shares of the locked clock, and of the run's median clock where none is locked, below which a batch does not count.
_LOCKED = 0.97
_USUAL = 0.90
#: Share of a batch's window that the driver may have held the clocks down.
_HELD = 0.01


def reason(clock: float | None, locked: float | None, usual: float | None, held: float, window: float) -> str | None:
    """Why a batch must not count, or None. Clocks in Hz; `held` of the `window` seconds the driver kept the clocks down."""
    if clock is not None and locked is not None and clock < _LOCKED * locked:
        return "SM clock below the locked clock"
    if clock is not None and locked is None and usual is not None and clock < _USUAL * usual:
        return "SM clock below the run's usual clock"
    return "held down by power or heat" if held > _HELD * window else None


class Watch:
    """The clocks of one GPU over one run; without NVML it watches nothing and never objects."""

    def __init__(self, nvml: Nvml | None) -> None:
        self._nvml = nvml
        self._locked = nvml.locked_clock() if nvml else None
        self._seen: deque[float] = deque(maxlen=1001)
        self._clock: float | None = None
        self._held = 0
        self._began = 0.0

    def begin(self) -> None:
        """A batch begins."""
        self._clock = None
        self._held = (self._nvml.violations() or 0) if self._nvml else 0
        self._began = now()

    def sample(self) -> None:
        """Reads the SM clock; call it while the GPU works, since an idle GPU lowers its clock."""
        self._clock = self._nvml.sm_clock() if self._nvml else None
        if self._clock is not None:
            self._seen.append(self._clock)

    def end(self) -> str | None:
        """The batch is done: why it must not count, or None."""
        if self._nvml is None:
            return None
        window = now() - self._began
        held = ((self._nvml.violations() or 0) - self._held) * 1e-9
        return reason(self._clock, self._locked, median(self._seen) if self._seen else None, held, window)
