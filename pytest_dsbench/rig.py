"""The rig: the device of this process with its data sheet, clock and environment, made once and handed to every case."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .anchors import Anchors
from .anchors import measure as measure_anchors
from .clock import Clock, Plan
from .environment import Environment
from .hardware.sheet import Hardware
from .sticky import lasting
from .trial import Content, Subject, content, edge_contents

_ANCHOR_EVERY = 20


@dataclass
class Rig:
    """Where cases run."""

    #: "cuda" or "cpu", as torch names it
    device: str
    hardware: Hardware
    environment: Environment
    #: None where cases are only checked
    clock: Clock | None
    #: bytes of the last-level cache that rotated buffers must exceed
    cache: float
    #: compute capability of an NVIDIA GPU; None elsewhere
    capability: tuple[int, int] | None = None
    #: most seconds of T_SOL and most bytes of memory a case may need; None is no limit
    budget: tuple[float | None, float | None] = (None, None)
    #: whether calls meet a cold cache, as the memory roofline assumes
    cold: bool = True
    #: finds work that the clock does not see, such as on a side stream
    probe: Callable[[Plan], str | None] | None = None
    #: a better measured roof, for a CPU whose roof was beaten; None where the roof is a vendor's
    raise_roof: Callable[[Hardware], Hardware] | None = None
    #: what the run as a whole has to say, such as a throttle counter that could not be read
    notes: list[str] = field(default_factory=list)
    random: Random = field(default_factory=Random)
    #: what the rig holds while it lives, such as the lock on its GPU
    resources: ExitStack = field(default_factory=ExitStack)
    #: what the device said when it was lost for this process; None while it can be used
    lost: str | None = None
    _last: "tuple[str, Any] | None" = None
    _anchors: Anchors | None = None
    _since: int = 0

    def anchors(self) -> Anchors:
        """The anchors of this moment: measured at the first case and every 20 cases."""
        if self._anchors is None or self._since >= _ANCHOR_EVERY:
            self._anchors = measure_anchors(self.device, self.cache)
            self._since = 0
        self._since += 1
        return self._anchors

    def contents(self, subject: Subject) -> tuple[list[Content], list[Content]]:
        """Two random contents and the edge contents of a case; kept for the next provider of the same case."""
        key = repr(subject)
        if self._last is None or self._last[0] != key:
            self._last = None  # free the last case's tensors before the next one's are made
            first = content(subject, self.device, 0)
            both = [first, content(subject, self.device, 1, base=first)]
            self._last = (key, (both, edge_contents(subject, self.device, first)))
        found: tuple[list[Content], list[Content]] = self._last[1]
        return found

    def alive(self) -> bool:
        """Whether the device can still be used; waits for what was launched, whose errors come late."""
        if self.lost is None and self.device == "cuda":
            import torch

            try:
                torch.cuda.synchronize()
            except RuntimeError as error:
                self.lost = lasting(error) or str(error).strip().partition("\n")[0]
        return self.lost is None

    def release(self) -> None:
        """Gives memory of the device back, for other processes that are to measure on it."""
        self.forget()
        if self.device == "cuda":
            import torch

            torch.cuda.empty_cache()

    def forget(self) -> None:
        """Frees the tensors of the last case."""
        self._last = None
