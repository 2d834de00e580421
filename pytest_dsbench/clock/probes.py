"""Checks of the CUDA clock itself: is any work hidden from the events, and does the flush work?"""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import torch

from ..provider import Launch
from . import Plan, choose, now
from .cuda import CudaClock
from .stream import Stopwatch, synchronize

#: A span this long is not moved by the host's own delays.
_LONG = 2e-3
_MOST_CALLS = 4096


class Span(NamedTuple):
    """Some launches, in seconds: what two events around them show, and how long the whole device was busy."""

    event: float
    wall: float


def apart(span: Span) -> bool:
    """Whether the device was busy more than 20 % longer than the events show; 20 us may be the timers' own."""
    return span.wall - span.event > max(0.2 * span.event, 20e-6)


def side_stream_note(plan: Plan, device_index: int) -> str | None:
    """One sentence when the device works longer than the events show: some of the work went to another stream."""
    with torch.cuda.device(device_index):
        idle = min(empty.wall - empty.event for empty in (_span([]) for _ in range(3)))
        # A launch that overwrites its inputs may see each buffer set only once between two restores.
        most = len(plan.sets) if plan.sets[0].restore else _MOST_CALLS
        calls = 1
        while 2 * calls <= most and _spread(plan, calls).wall < _LONG:
            calls *= 2
        spans = [_spread(plan, calls) for _ in range(3)]
    middle = Span(median(span.event for span in spans), median(span.wall for span in spans) - idle)
    if not apart(middle):
        return None
    return f"the device is busy {middle.wall / middle.event:.2f} times as long as the events show: work runs on a side stream"


def _spread(plan: Plan, calls: int) -> Span:
    """The span of so many calls, unblocked: work on another stream would not wait for a block on this one."""
    picked = choose(plan, calls)
    for buffers in plan.sets:
        if buffers.restore:
            buffers.restore()
    return _span([buffers.launch for buffers in picked])


def _span(launches: Sequence[Launch]) -> Span:
    watch, stream = Stopwatch(), torch.cuda.current_stream()
    synchronize()
    began = now()
    watch.start(stream)
    for launch in launches:
        launch()
    watch.stop(stream)
    synchronize()
    wall = now() - began
    return Span(watch.seconds(), wall)


def hot_cold_ratio(device_index: int, l2: float) -> float:
    """The time of a copy of half the L2 with a hot cache over that with a flushed one, 10 samples each; at 1 no flush works."""
    source = torch.ones(int(l2) // 16, dtype=torch.float32, device=f"cuda:{device_index}")
    target = torch.empty_like(source)
    hot, cold = (median(CudaClock(device_index, l2, cold=cold).few(lambda: target.copy_(source), 10)) for cold in (False, True))
    return hot / cold
