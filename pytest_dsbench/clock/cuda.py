"""The CUDA clock: events on a blocked stream, or replays of a graph; a cold cache; batches of 16 that count or fall together."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from ..mistake import Mistake
from ..nvml import Nvml
from ..provider import Launch
from ..units import show_bytes
from . import Batch, Buffers, Collect, Mode, Plan, Samples, StopRule, choose, collect, now
from .stream import Block, Flush, Stopwatch, cycles_per_second, reset_persisting_l2, sleep, synchronize
from .throttle import Watch

RULE = StopRule(least=30, busy=0.4, wall=5.0)

#: Samples enqueued before the host waits; they are accepted or discarded together.
BATCH = 16
#: In mode "auto" a call shorter than this is measured by graph: the events themselves begin to show.
_SHORT = 20e-6
#: Calls in a graph, and how many times the L2 its buffer sets must cover to be cold at every replay.
_GRAPH_CALLS = 16
_GRAPH_L2 = 3
#: The stream is blocked for this many times what the host needs to enqueue a sample.
_AHEAD = 3
_CALIBRATING = 5
#: More discarded batches than this, and the case was throttled.
_THROTTLED = 0.3

#: Warm-up: slices of this length until two medians agree this well, no sooner and no later than these.
_SLICE = 0.010
_AGREE = 0.01
_WARM_LEAST = 0.050
_WARM_MOST = 1.0


class CaptureFailed(Mistake):
    """The launch cannot be captured in a graph; says why."""


def settled(previous: float | None, current: float, elapsed: float) -> bool:
    """Whether the warm-up may end: two slice medians agree and enough time has passed, or too much has."""
    if elapsed >= _WARM_MOST:
        return True
    return elapsed >= _WARM_LEAST and previous is not None and abs(current - previous) <= _AGREE * previous


def graph_calls(sets: int) -> int:
    """Calls to capture in one graph that rotates over so many buffer sets."""
    return max(_GRAPH_CALLS, sets)


def batch_size(typical: float, rule: StopRule) -> int:
    """Samples of `typical` seconds in one batch: 16, or fewer where those would overrun the cap on device time."""
    return max(1, min(BATCH, int(rule.busy / max(typical, 1e-9))))


@dataclass(frozen=True)
class _Queued:
    """What each sample of one queue took, on the GPU and on the host, and one of the outputs."""

    gpu: list[float]
    host: list[float]
    output: Any


class CudaClock:
    """Times launches on the current stream of one GPU. Keep one for a run: it remembers the run's usual SM clock."""

    def __init__(
        self,
        device_index: int,
        l2: float,
        mode: Mode = "auto",
        cold: bool = True,
        rule: StopRule = RULE,
        nvml: Nvml | None = None,
        collect: Collect = collect,
    ) -> None:
        self._device = device_index
        self._l2 = int(l2)
        self._mode = mode
        self._rule = rule
        self._draws = collect
        self._watch = Watch(nvml)
        #: cycles per second of the block's counter
        self._rate = 0.0
        with torch.cuda.device(device_index):
            self._flush = Flush(self._l2) if cold else None
            self._watches = [Stopwatch() for _ in range(BATCH)]

    def time(self, plan: Plan) -> Samples:
        """Seconds per call; the result says in which mode. Raises CaptureFailed where mode "graph" was asked for and fails."""
        with torch.cuda.device(self._device):
            typical = self._warm_up(plan)
            reset_persisting_l2()
            self._rate = cycles_per_second()
            mode = plan.mode or self._mode
            if mode == "graph":
                return self._by_graph(plan, typical)
            draw, block = self._events(plan, typical)
            notes: list[str] = []
            if mode == "auto" and median(draw().seconds) < _SHORT:
                try:
                    return self._by_graph(plan, typical)
                except CaptureFailed as error:
                    notes.append(str(error))
            return self._collect(draw, block, "events", notes)

    def few(self, launch: Launch, count: int) -> list[float]:
        """Seconds of a few (at most 16) launches, by events and with no stop rule: for anchors and probes."""
        with torch.cuda.device(self._device):
            picked = [Buffers(content=0, launch=launch)] * min(count, BATCH)
            self._queue(picked)
            self._rate = cycles_per_second()
            queued, _ = self._punctual(picked, self._calibrated(picked))
            return queued.gpu

    def _warm_up(self, plan: Plan) -> float:
        """Every buffer set once, where time allows, then slices until they agree; seconds of a call. Whatever a launch compiles
        or tunes, it does in here."""
        started, took = now(), 0.0
        for number, buffers in enumerate([*plan.sets, *choose(plan, 3)]):
            began = now()
            _run(buffers)
            synchronize()
            took = now() - began
            if number >= 2 and now() - started > _WARM_MOST:
                break
        size = max(1, min(BATCH, int(_SLICE / took)))
        started, previous = now(), None
        while True:
            middle = self._slice(plan, size)
            if settled(previous, middle, now() - started):
                return middle
            previous = middle

    def _slice(self, plan: Plan, size: int) -> float:
        """The median of 10 ms of samples, without a block: they only have to agree with each other."""
        times: list[float] = []
        began = now()
        while not times or now() - began < _SLICE:
            times += self._queue(choose(plan, size)).gpu
        return median(times)

    def _queue(self, picked: Sequence[Buffers], block: float = 0.0, keep: int = -1, watched: bool = False) -> _Queued:
        """Enqueues one sample after the other, then waits once. There is no wait between flush and start: it would add a gap."""
        stream = torch.cuda.current_stream()
        cycles = int(block * self._rate)
        watches = self._watches[: len(picked)]
        host, output = [], None
        for index, (buffers, watch) in enumerate(zip(picked, watches, strict=True)):
            if buffers.restore:
                buffers.restore()
            if self._flush:
                self._flush()
            began = now()
            if cycles:
                sleep(cycles)
            watch.start(stream)
            result = buffers.launch()
            watch.stop(stream)
            host.append(now() - began)
            if index == keep:
                output = result
        if watched:
            self._watch.sample()
        synchronize()
        return _Queued([watch.seconds() for watch in watches], host, output)

    def _calibrated(self, picked: Sequence[Buffers]) -> Block:
        """A block of three times what the host needs; none where the launch waits for the GPU, which no block gets ahead of."""
        self._queue(picked[:_CALIBRATING])
        free = median(self._queue(picked[:_CALIBRATING]).host)
        block = min(_AHEAD * free, _SLICE)
        waited = min(self._queue(picked[:1], block).host[0] for _ in range(3)) - free
        return Block(0.0, host_bound=True) if waited > 0.9 * block else Block(block)

    def _punctual(self, picked: Sequence[Buffers], block: Block, keep: int = -1) -> tuple[_Queued, str | None]:
        """One batch that the host enqueued in time, or as nearly as it can; and why it must not count, if so."""
        while True:
            self._watch.begin()
            queued = self._queue(picked, block.seconds, keep, watched=True)
            discard = self._watch.end()
            if block.accepts(queued.host):
                return queued, discard

    def _events(self, plan: Plan, typical: float) -> tuple[Callable[[], Batch], Block]:
        """What draws batches in mode "events", and the block it uses."""
        size = batch_size(typical, self._rule)
        block = self._calibrated(choose(plan, size))

        def draw() -> Batch:
            picked, keep = choose(plan, size), plan.random.randrange(size)
            queued, discard = self._punctual(picked, block, keep)
            plan.verify(picked[keep].content, queued.output)
            return Batch(seconds=queued.gpu, busy=sum(queued.gpu), discard=discard)

        return draw, block

    def _by_graph(self, plan: Plan, typical: float) -> Samples:
        """Samples in mode "graph": each is one replay, divided by the calls in it."""
        replay, outputs = _capture(plan)
        calls = len(outputs)
        picked = [replay] * batch_size(typical * calls, self._rule)
        block = self._calibrated(picked)

        def draw() -> Batch:
            queued, discard = self._punctual(picked, block)
            plan.verify(*plan.random.choice(outputs))
            return Batch(seconds=[took / calls for took in queued.gpu], busy=sum(queued.gpu), discard=discard)

        return self._collect(draw, block, "graph", self._warmth(plan))

    def _warmth(self, plan: Plan) -> list[str]:
        """A note where the calls of a graph may find their inputs in the cache: there is no flush between them."""
        covered = sum(value.nbytes for buffers in plan.sets for value in buffers.inputs.values())
        if self._flush is None or covered >= _GRAPH_L2 * self._l2:
            return []
        return [
            f"not cold: the graph's inputs cover {show_bytes(covered)}, less than {_GRAPH_L2} x the L2 of {show_bytes(self._l2)}"
        ]

    def _collect(self, draw: Callable[[], Batch], block: Block, mode: str, notes: list[str]) -> Samples:
        got = self._draws(draw, self._rule, mode)
        got.notes, got.host_bound = notes, block.host_bound
        if sum(got.discarded.values()) > _THROTTLED * got.batches:
            got.stopped_by = "throttled"
        return got


def _run(buffers: Buffers) -> None:
    if buffers.restore:
        buffers.restore()
    buffers.launch()


def _capture(plan: Plan) -> tuple[Buffers, list[tuple[int, Any]]]:
    """A graph of many calls over all buffer sets, as something to launch; and the content and output of each call."""
    calls = graph_calls(len(plan.sets))
    restores = [buffers.restore for buffers in plan.sets if buffers.restore]
    if restores and len(plan.sets) < calls:
        raise CaptureFailed(
            f"no graph: the launch overwrites its inputs, and {calls} calls need more than {len(plan.sets)} buffer sets"
        )
    picked = choose(plan, calls)
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    try:
        # torch.cuda.graph leaves its own stream current when a capture fails; the outer context puts ours back.
        with torch.cuda.stream(side):
            _rehearse(picked)
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="The CUDA Graph is empty")
                with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                    outputs = [(buffers.content, buffers.launch()) for buffers in picked]
    except (RuntimeError, UserWarning) as error:
        raise CaptureFailed(f"no graph: {(str(error).splitlines() or [type(error).__name__])[0]}") from error

    def restore() -> None:
        for one in restores:
            one()

    return Buffers(content=-1, launch=graph.replay, restore=restore if restores else None), outputs


def _rehearse(picked: Sequence[Buffers]) -> None:
    """Makes all calls on the capturing stream, for what they do only once there, then one that raises if torch waits for the GPU.

    Up to torch 2.11 a capture that dies of such a wait leaves the allocator believing that it goes on (pytorch 180395).
    """
    for buffers in picked:
        _run(buffers)
    if picked[0].restore:
        picked[0].restore()
    synchronize()
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        # torch warns that it does not see every wait; the capture finds the others.
        warnings.filterwarnings("ignore", message="Synchronization debug mode")
        torch.cuda.set_sync_debug_mode("error")
    try:
        picked[0].launch()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    synchronize()
