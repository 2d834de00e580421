"""The CUDA clock: its decisions, which need no GPU, and on a machine with one what it measures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pytest_dsbench.clock import Buffers, Mode, StopRule  # noqa: E402
from pytest_dsbench.clock.cuda import RULE, CaptureFailed, CudaClock, batch_size, graph_calls, settled  # noqa: E402
from pytest_dsbench.clock.probes import Span, apart, hot_cold_ratio, side_stream_note  # noqa: E402
from pytest_dsbench.clock.stream import Block  # noqa: E402
from pytest_dsbench.clock.throttle import Watch, reason  # noqa: E402

# -- decisions ----------------------------------------------------------------------------------------------------------------


def test_a_block_the_host_keeps_up_with_stays() -> None:
    block = Block(30e-6)
    assert block.accepts([10e-6] * 16)
    assert block == Block(30e-6)


def test_one_interruption_of_the_host_is_forgiven() -> None:
    assert Block(30e-6).accepts([10e-6] * 14 + [1.0] * 2)


def test_a_late_host_gets_three_longer_blocks_and_then_is_named() -> None:
    block, lengths = Block(10e-6), []
    while not block.accepts([1.0] * 16):
        lengths.append(block.seconds)
    assert lengths == pytest.approx([20e-6, 40e-6, 80e-6])
    assert block.host_bound
    assert block.accepts([1.0] * 16)


def test_a_longer_block_can_be_enough() -> None:
    block = Block(10e-6)
    assert not block.accepts([15e-6] * 16)
    assert block.accepts([15e-6] * 16)
    assert not block.host_bound


@pytest.mark.parametrize(
    ("previous", "current", "elapsed", "done"),
    [
        (None, 1.0, 0.06, False),
        (1.0, 1.005, 0.04, False),
        (1.0, 1.005, 0.06, True),
        (1.0, 0.995, 0.06, True),
        (1.0, 1.02, 0.06, False),
        (1.0, 2.0, 1.0, True),
        (None, 1.0, 1.0, True),
    ],
)
def test_warm_up_ends(previous: float | None, current: float, elapsed: float, done: bool) -> None:
    assert settled(previous, current, elapsed) is done


def test_calls_in_a_graph() -> None:
    assert [graph_calls(sets) for sets in (1, 2, 16, 17, 256)] == [16, 16, 16, 17, 256]


def test_a_batch_keeps_to_the_cap_on_device_time() -> None:
    rule = StopRule(least=30, busy=0.4, wall=5.0)
    assert [batch_size(typical, rule) for typical in (0.0, 1e-6, 0.02, 0.1, 3.0)] == [16, 16, 16, 4, 1]
    assert (RULE.least, RULE.precision, RULE.samples, RULE.busy, RULE.wall) == (30, 0.005, 3000, 0.4, 5.0)


@pytest.mark.parametrize(
    ("clock", "locked", "usual", "held", "expected"),
    [
        (1.37e9, 1.41e9, None, 0.0, None),
        (1.36e9, 1.41e9, None, 0.0, "SM clock below the locked clock"),
        (1.60e9, None, 1.755e9, 0.0, None),
        (1.57e9, None, 1.755e9, 0.0, "SM clock below the run's usual clock"),
        (None, None, None, 0.009, None),
        (None, 1.41e9, 1.4e9, 0.011, "held down by power or heat"),
    ],
)
def test_discarding(clock: float | None, locked: float | None, usual: float | None, held: float, expected: str | None) -> None:
    assert reason(clock, locked, usual, held, 1.0) == expected


@dataclass
class Meter:
    """Stands for Nvml: a GPU whose clock and counter the test sets."""

    clock: float | None = 1.7e9
    held: int | None = 0

    def locked_clock(self) -> None:
        return None

    def sm_clock(self) -> float | None:
        return self.clock

    def violations(self) -> int | None:
        return self.held


def _watched(watch: Watch, meter: Meter, held: int | None = None) -> str | None:
    watch.begin()
    watch.sample()
    meter.held = held if held is not None else meter.held
    return watch.end()


def test_the_usual_clock_is_that_of_the_run() -> None:
    meter = Meter()
    watch = Watch(meter)  # type: ignore[arg-type]
    assert [_watched(watch, meter) for _ in range(5)] == [None] * 5
    meter.clock = 1.2e9
    assert _watched(watch, meter) == "SM clock below the run's usual clock"
    assert _watched(watch, meter, held=10**9) is not None
    meter.clock = None
    assert _watched(watch, meter) is None


def test_without_a_meter_nothing_is_discarded() -> None:
    watch = Watch(None)
    assert _watched(watch, Meter()) is None
    meter = Meter(clock=None, held=None)
    assert _watched(Watch(meter), meter) is None  # type: ignore[arg-type]


def test_hidden_work() -> None:
    assert not apart(Span(1e-3, 1.1e-3))
    assert apart(Span(1e-3, 1.3e-3))
    # 20 us are within what the timers themselves need.
    assert not apart(Span(5e-6, 20e-6))
    assert apart(Span(5e-6, 60e-6))


# -- with a GPU ---------------------------------------------------------------------------------------------------------------

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@dataclass
class Launches:
    """A plan whose outputs the test looks at."""

    sets: list[Buffers]
    random: Random = field(default_factory=lambda: Random(0))
    contents: list[int] = field(default_factory=list)
    mode: Mode | None = None

    def verify(self, content: int, outputs: Any) -> None:
        assert outputs is not None
        self.contents.append(content)


def _l2() -> int:
    return int(torch.cuda.get_device_properties(0).L2_cache_size)


def _adding(elements: int, sets: int, finish: Callable[[Any], Any] = lambda out: out) -> Launches:
    """Plans of x + y over fp32 vectors."""

    def one(number: int) -> Buffers:
        x, y = (torch.randn(elements, device="cuda") for _ in range(2))
        return Buffers(number % 2, lambda: finish(torch.add(x, y)), None, {"x": x, "y": y})

    return Launches([one(number) for number in range(sets)])


def _clock(**options: Any) -> CudaClock:
    return CudaClock(0, _l2(), **options)


@gpu
@pytest.mark.filterwarnings("ignore:.*rofiler")
def test_events_graph_and_profiler_agree() -> None:
    plan = _adding(2**26, 2)
    events, graph = (_clock(mode=mode).time(plan) for mode in ("events", "graph"))
    assert (events.mode, graph.mode) == ("events", "graph")
    assert not events.host_bound and not graph.notes
    assert {0, 1} == set(plan.contents)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for number in range(20):
            plan.sets[number % 2].launch()
        torch.cuda.synchronize()
    profiled = sum(row.self_device_time_total for row in profile.key_averages()) * 1e-6 / 20
    assert profiled > 20e-6
    assert median(events.seconds) == pytest.approx(profiled, rel=0.02)
    assert median(graph.seconds) == pytest.approx(profiled, rel=0.02)


@gpu
def test_the_flush_works() -> None:
    assert hot_cold_ratio(0, _l2()) < 0.9


@gpu
def test_short_kernels_are_measured_by_graph() -> None:
    found = _clock().time(_adding(2**10, 32))
    assert found.mode == "graph"
    assert any("not cold" in note for note in found.notes)
    assert median(found.seconds) < 20e-6


@gpu
def test_a_plan_may_say_how_it_is_timed() -> None:
    plan = _adding(2**10, 32)
    plan.mode = "events"
    assert _clock().time(plan).mode == "events"


@gpu
def test_a_launch_that_waits_is_host_bound_and_cannot_be_captured() -> None:
    plan = _adding(2**10, 2, lambda out: (out.sum().item(), out))
    stream = torch.cuda.current_stream()
    assert _clock(mode="events").time(plan).host_bound
    with pytest.raises(CaptureFailed, match="no graph: "):
        _clock(mode="graph").time(plan)
    assert torch.cuda.current_stream() == stream
    # Nothing is left of the failed capture: random numbers and another graph work.
    torch.randn(8, device="cuda")
    assert _clock(mode="graph").time(_adding(2**10, 32)).mode == "graph"


@gpu
def test_in_place_inputs_need_a_set_per_call() -> None:
    x = torch.ones(2**10, device="cuda")
    plan = Launches([Buffers(0, lambda: x.mul_(2), lambda: x.fill_(1), {"x": x})])
    with pytest.raises(CaptureFailed, match="overwrites its inputs"):
        _clock(mode="graph").time(plan)
    assert _clock(mode="events").time(plan).mode == "events"
    assert x[0].item() == 2


@gpu
def test_work_on_another_stream_is_found() -> None:
    honest = _adding(2**24, 2)
    other = torch.cuda.Stream()

    def hidden() -> Any:
        with torch.cuda.stream(other):
            return honest.sets[0].launch()

    assert side_stream_note(honest, 0) is None
    note = side_stream_note(Launches([Buffers(0, hidden)]), 0)
    assert note is not None and "side stream" in note
