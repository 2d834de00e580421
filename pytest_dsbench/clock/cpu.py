"""The CPU clock: looped calls, the minimum of each 20 ms slice, the median over slices.

On a shared machine the minimum of short samples repeats within 1 %, where means and medians move by 3 to 25 %; the median
over slices then keeps one lucky slice from deciding.
"""

import cProfile
import gc
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from . import Batch, Buffers, Collect, Plan, Samples, StopRule, choose, collect

_ns = time.perf_counter_ns
_cpu_ns = time.process_time_ns

#: A sample is a loop of calls that lasts about this long: long enough for the timer, short enough to fall between
#: two interruptions of a shared host.
_SAMPLE_NS = 300_000
_SLICE_NS = 20_000_000
#: A slice in which this process, all its threads together, had a core for less than this share of the time does not count.
_ON_CORE = 0.98
_LONGEST_LOOP = 4096
#: When other processes took more than this share of the cores, threads waited for each other: a case of 0.1 ms was seen to
#: take 50 ms, every time, with all its threads busy waiting.
_OTHERS = 0.1

RULE = StopRule(least=10, busy=0.3, wall=5.0)


class CpuClock:
    """Times launches with `time.perf_counter_ns`."""

    def __init__(self, rule: StopRule = RULE, collect: Collect = collect) -> None:
        self._rule = rule
        self._collect = collect

    def time(self, plan: Plan) -> Samples:
        """Seconds per call, one number per slice."""
        with _undisturbed():
            loop = _calibrate(plan)
            before = _Usage.now()
            got = self._collect(lambda: _slice(plan, loop), self._rule, "cpu")
            others = _Usage.now().others_since(before)
        if others > _OTHERS:
            got.discarded["other processes on these cores"] = got.batches
        if sum(got.discarded.values()) * 2 > got.batches:
            got.stopped_by = "noisy host"
        return got


class _Usage(NamedTuple):
    """Seconds that the cores of this process were used until one moment."""

    #: by all processes
    everybody: float
    #: by this process, all its threads
    own: float
    #: that passed on all those cores together
    passed: float

    @classmethod
    def now(cls) -> "_Usage":
        """Until now."""
        return cls(_busy(_cores()), _cpu_ns() * 1e-9, _ns() * 1e-9 * max(len(_cores()), 1))

    def others_since(self, before: "_Usage") -> float:
        """The share of these cores that other processes, or the hypervisor, took meanwhile."""
        return ((self.everybody - before.everybody) - (self.own - before.own)) / (self.passed - before.passed)


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _busy(cores: set[int], stat: Path = Path("/proc/stat")) -> float:
    """Seconds of use of some cores since the system started, in ticks of about 10 ms; 0 where the system does not say."""
    names = {f"cpu{core}" for core in cores}
    lines = [line.split() for line in stat.read_text().splitlines()] if stat.exists() else []
    # user, nice, system, irq, softirq and steal; not idle and iowait
    ticks = sum(int(words[field]) for words in lines if words and words[0] in names for field in (1, 2, 3, 6, 7, 8))
    return float(ticks / os.sysconf("SC_CLK_TCK"))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection and no tracer while timing."""
    collecting, tracer = gc.isenabled(), sys.gettrace()
    profiler: Any = sys.getprofile()
    gc.disable()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
        # cProfile shows up here as its own object, which is no function, and only it can install itself again.
        if isinstance(profiler, cProfile.Profile):
            profiler.enable()
        else:
            sys.setprofile(profiler)
        if collecting:
            gc.enable()


def _calibrate(plan: Plan) -> int:
    """Calls per sample, after a warm-up of at least three calls and 20 ms; a call longer than a sample is not looped."""
    times: list[int] = []
    while len(times) < 3 or (sum(times) < _SLICE_NS and len(times) < 100):
        times.append(_sample([plan.sets[len(times) % len(plan.sets)]], None))
        if times[-1] > 10 * _SLICE_NS:
            break
    loop = max(1, min(_SAMPLE_NS // max(min(times), 1), _LONGEST_LOOP))
    # A launch that overwrites its inputs may see each buffer set only once between two restores.
    return min(loop, len(plan.sets)) if plan.sets[0].restore else loop


def _slice(plan: Plan, loop: int) -> Batch:
    """About 20 ms of samples; their minimum is the slice's one number."""
    best, spent, on_core = None, 0, 0
    kept: deque[object] = deque(maxlen=len(plan.sets))
    while spent < _SLICE_NS:
        chosen = choose(plan, loop)
        cpu = _cpu_ns()
        took = _sample(chosen, kept)
        on_core += _cpu_ns() - cpu
        spent += took
        best = took if best is None else min(best, took)
    # One random call of the slice's last sample is checked: a replayed result is of the other content half the time.
    back = plan.random.randint(1, min(loop, len(kept)))
    plan.verify(chosen[-back].content, kept[-back])
    assert best is not None
    discard = None if on_core >= _ON_CORE * spent else "off core"
    return Batch(seconds=[best / loop * 1e-9], busy=spent * 1e-9, discard=discard)


def _sample(chosen: list[Buffers], kept: "deque[object] | None") -> int:
    """Nanoseconds of one pass over `chosen`. Outputs are held in `kept`: a library that allocates its outputs must not be
    handed the same warm block at every call."""
    for buffers in chosen:
        if buffers.restore:
            buffers.restore()
    launches = [buffers.launch for buffers in chosen]
    keep = (kept if kept is not None else deque(maxlen=1)).append
    start = _ns()
    for launch in launches:
        keep(launch())
    return _ns() - start
