"""The CPU clock, on a time that the test moves: what is sampled, when sampling stops, and what is inside the clock."""

import cProfile
import gc
import os
import pstats
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("torch")

from pytest_dsbench import clock
from pytest_dsbench.clock import Batch, Buffers, Samples, StopRule, choose, collect, cpu
from pytest_dsbench.clock.cpu import CpuClock

US, MS = 1_000, 1_000_000


class Time:
    """What the clock sees instead of the machine's: nanoseconds of the wall and of the process."""

    def __init__(self) -> None:
        self.wall = 0
        self.busy = 0

    def pass_(self, nanoseconds: int, on_core: float = 1.0) -> None:
        self.wall += nanoseconds
        self.busy += int(nanoseconds * on_core)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(cpu, "_ns", lambda: made.wall)
    monkeypatch.setattr(cpu, "_cpu_ns", lambda: made.busy)
    monkeypatch.setattr(clock, "now", lambda: made.wall * 1e-9)
    # Nobody else is on the machine.
    monkeypatch.setattr(cpu, "_busy", lambda _: made.busy * 1e-9)
    return made


@dataclass
class Fake:
    """A plan whose launches take as long as `takes` says, and which remembers what happened."""

    time: Time
    takes: Callable[[int], int]
    count: int = 4
    #: nanoseconds of bringing the inputs of a set back; None where launches overwrite none
    restore: int | None = None
    on_core: Callable[[int], float] = lambda _: 1.0
    random: Random = field(default_factory=lambda: Random(0))
    #: numbers of the sets in the order they were launched in
    launched: list[int] = field(default_factory=list)
    #: content, number of the set and of the call, at every verification
    verified: list[tuple[int, int, int]] = field(default_factory=list)
    #: how many launches there had been by then
    by_then: list[int] = field(default_factory=list)
    fresh: set[int] = field(default_factory=set)
    mode: None = None

    def __post_init__(self) -> None:
        self.sets = [
            Buffers(n % 2, partial(self._launch, n), partial(self._restore, n) if self.restore else None)
            for n in range(self.count)
        ]

    def _launch(self, number: int) -> tuple[int, int]:
        assert not self.restore or number in self.fresh
        self.fresh.discard(number)
        self.time.pass_(self.takes(len(self.launched)), self.on_core(len(self.launched)))
        self.launched.append(number)
        return number, len(self.launched) - 1

    def _restore(self, number: int) -> None:
        self.fresh.add(number)
        self.time.pass_(self.restore or 0)

    def verify(self, content: int, outputs: Any) -> None:
        self.verified.append((content, *outputs))
        self.by_then.append(len(self.launched))


# -- the stop rule ------------------------------------------------------------------------------------------------------------

RULE = StopRule(least=30, precision=0.005, samples=200, busy=1.0, wall=5.0)


def collected(batches: Iterator[Batch], rule: StopRule = RULE) -> Samples:
    return collect(lambda: next(batches), rule)


def endless(seconds: list[float], busy: float = 0.0, discard: str | None = None) -> Iterator[Batch]:
    """Enough of them: where nothing stops the loop, it ends in an error."""
    for _ in range(1000):
        yield Batch(list(seconds), busy, discard)


@pytest.mark.usefixtures("time")
class TestStopping:
    def test_precise(self) -> None:
        found = collected(endless([1.0] * 16))
        assert (found.stopped_by, len(found.seconds), found.batches) == ("precise", 32, 2)
        assert not found.discarded and not found.rejected

    @pytest.mark.parametrize(("spread", "reason"), [(0.0099, "precise"), (0.0101, "samples")])
    def test_precise_is_half_a_percent_on_both_sides(self, spread: float, reason: str) -> None:
        found = collected(endless([1.0 - spread / 2, 1.0 + spread / 2]))
        assert found.stopped_by == reason

    def test_samples(self) -> None:
        found = collected(endless([1.0, 2.0] * 8))
        assert (found.stopped_by, len(found.seconds), found.batches) == ("samples", 208, 13)

    def test_device_time(self) -> None:
        found = collected(endless([1.0, 2.0], busy=0.3))
        assert (found.stopped_by, found.batches) == ("device time", 4)

    def test_device_time_of_discarded_batches_counts(self) -> None:
        found = collected(endless([1.0], busy=0.5, discard="hot"))
        assert (found.stopped_by, found.seconds, found.rejected) == ("device time", [], [1.0, 1.0, 1.0])
        assert found.discarded == {"hot": 3}

    def test_no_cap_stops_before_the_third_sample(self) -> None:
        # One sample has no interval; it may be the one that was interrupted.
        found = collected(endless([1.0], busy=100.0))
        assert (found.stopped_by, found.seconds) == ("device time", [1.0, 1.0, 1.0])

    def test_wall_time(self, time: Time) -> None:
        def slowly() -> Iterator[Batch]:
            for batch in endless([1.0, 2.0]):
                time.pass_(2000 * MS)
                yield batch

        found = collected(slowly())
        assert (found.stopped_by, found.batches) == ("wall time", 3)

    def test_discarded_batches_count_by_reason_and_not_as_samples(self) -> None:
        batches = [Batch([9.0, 8.0], 0.0, "hot"), Batch([1.0] * 29, 0.0), Batch([7.0], 0.0, "slow"), Batch([6.0], 0.0, "hot")]
        found = collected(iter([*batches, Batch([1.0], 0.0)]))
        assert (found.stopped_by, found.seconds, found.batches) == ("precise", [1.0] * 30, 5)
        assert found.discarded == {"hot": 2, "slow": 1} and found.rejected == [9.0, 8.0, 7.0, 6.0]

    def test_precision_is_the_first_reason(self) -> None:
        assert collected(endless([1.0] * 300, busy=9.0)).stopped_by == "precise"


def test_sets_are_chosen_evenly_and_in_random_order(time: Time) -> None:
    plan = Fake(time, lambda _: 1, count=6)
    orders = set()
    for _ in range(20):
        chosen = [plan.sets.index(one) for one in choose(plan, 15)]
        assert sorted(chosen[:6]) == list(range(6)) and chosen[6:12] == chosen[:6] and chosen[12:] == chosen[:3]
        orders.add(tuple(chosen))
    assert len(orders) == 20
    assert len(choose(plan, 4)) == 4


# -- calibration --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("takes", "calls", "loop"),
    [
        (0, 100, 4096),
        (10, 100, 4096),
        (100, 100, 3000),
        (US, 100, 300),
        (140 * US, 100, 2),
        (MS, 20, 1),
        (19 * MS, 3, 1),
        (150 * MS, 3, 1),
        (201 * MS, 1, 1),
    ],
)
def test_a_sample_lasts_about_a_third_of_a_millisecond(time: Time, takes: int, calls: int, loop: int) -> None:
    plan = Fake(time, lambda _: takes)
    assert cpu._calibrate(plan) == loop
    assert len(plan.launched) == calls
    # Every set is warmed up, in turn.
    assert plan.launched == [n % 4 for n in range(calls)]


def test_the_shortest_call_of_the_warm_up_counts(time: Time) -> None:
    assert cpu._calibrate(Fake(time, lambda n: 90 * MS if n == 0 else 10 * US)) == 30


@pytest.mark.parametrize(("count", "loop"), [(8, 8), (500, 300)])
def test_in_place_launches_loop_over_each_set_once(time: Time, count: int, loop: int) -> None:
    assert cpu._calibrate(Fake(time, lambda _: US, count=count, restore=US)) == loop


# -- samples ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restore", [None, 3])
@pytest.mark.parametrize("takes", [4 * US, 400 * US, 30 * MS])
def test_seconds_are_those_of_one_call(time: Time, takes: int, restore: int | None) -> None:
    """Bringing inputs back takes three times as long, outside the clock."""
    found = CpuClock().time(Fake(time, lambda _: takes, restore=restore and restore * takes))
    assert found.seconds == pytest.approx([takes * 1e-9] * 10)
    assert (found.mode, found.stopped_by, found.batches) == ("cpu", "precise", 10)
    assert not found.discarded and not found.notes and not found.host_bound


def test_the_number_of_a_slice_is_its_shortest_sample(time: Time) -> None:
    # From the 21st call on, slices of 3 + 1 + 2 ms and so on: calls of 1 ms decide.
    found = CpuClock().time(Fake(time, lambda n: [3 * MS, MS, 2 * MS][n % 3]))
    assert found.seconds == pytest.approx([1e-3] * 10)


def test_busy_time_is_that_inside_the_clock(time: Time) -> None:
    rule = StopRule(least=10, busy=0.29, wall=1e9)
    found = CpuClock(rule).time(Fake(time, lambda _: 50 * MS, restore=50 * MS))
    assert (found.stopped_by, found.batches) == ("device time", 6)


@pytest.mark.parametrize(("count", "takes"), [(4, 10 * US), (4, 100 * US), (64, 10 * US), (2, 30 * MS), (6, 30 * MS)])
@pytest.mark.parametrize("restore", [None, US])
def test_one_random_call_of_each_slice_is_verified(time: Time, count: int, takes: int, restore: int | None) -> None:
    plan = Fake(time, lambda _: takes, count=count, restore=restore)
    found = CpuClock(StopRule(least=60, busy=9e9, wall=9e9)).time(plan)
    assert len(plan.verified) == found.batches == 60
    loop = max(1, min(300 * US // takes, count if restore else 9999))
    back = set()
    for (content, number, call), total in zip(plan.verified, plan.by_then, strict=True):
        assert plan.launched[call] == number and content == number % 2
        assert 1 <= total - call <= min(loop, count)
        back.add(total - call)
    assert len(back) > 1 or min(loop, count) == 1
    assert {content for content, _, _ in plan.verified} == {0, 1}


def test_who_collects_may_be_chosen(time: Time) -> None:
    def two(draw: Callable[[], Batch], rule: StopRule, mode: str) -> Samples:
        return Samples(mode=mode, seconds=[*draw().seconds, *draw().seconds], batches=2, stopped_by="enough")

    found = CpuClock(collect=two).time(Fake(time, lambda _: MS))
    assert (found.mode, found.stopped_by, found.seconds) == ("cpu", "enough", pytest.approx([1e-3] * 2))


def test_a_wrong_output_ends_the_timing(time: Time) -> None:
    plan = Fake(time, lambda _: US)

    def refuse(content: int, outputs: Any) -> None:
        raise ArithmeticError(f"{content} {outputs}")

    plan.verify = refuse  # type: ignore[method-assign]
    gc.enable()
    with pytest.raises(ArithmeticError):
        CpuClock().time(plan)
    assert gc.isenabled()


class Output:
    alive = 0

    def __init__(self) -> None:
        Output.alive += 1

    def __del__(self) -> None:
        Output.alive -= 1


def test_as_many_outputs_are_held_as_there_are_sets(time: Time) -> None:
    most = []

    def launch() -> Output:
        time.pass_(MS)
        made = Output()
        most.append(Output.alive)
        return made

    plan = Fake(time, lambda _: 0, count=5)
    plan.sets = [Buffers(n % 2, launch) for n in range(5)]
    plan.verify = lambda content, outputs: None  # type: ignore[method-assign]
    CpuClock().time(plan)
    # Those of the last five calls, and the one just made.
    assert max(most) == 6


# -- a noisy host -------------------------------------------------------------------------------------------------------------


def test_slices_off_the_core_are_discarded(time: Time) -> None:
    found = CpuClock().time(Fake(time, lambda _: 5 * MS, on_core=lambda _: 0.97))
    assert (found.seconds, found.discarded, found.stopped_by) == ([], {"off core": 15}, "noisy host")
    assert found.rejected == pytest.approx([5e-3] * 15)
    assert CpuClock().time(Fake(time, lambda _: 5 * MS, on_core=lambda _: 0.985)).stopped_by == "precise"


@pytest.mark.parametrize(("bad", "reason"), [(10, "precise"), (11, "noisy host")])
def test_more_than_half_of_the_slices_make_a_noisy_host(time: Time, bad: int, reason: str) -> None:
    # After a warm-up of three calls, every call of 20 ms is a slice.
    plan = Fake(time, lambda _: 20 * MS, on_core=lambda n: 0.5 if 3 <= n < 3 + bad else 1.0)
    found = CpuClock(StopRule(least=10, busy=9.0, wall=9.0)).time(plan)
    assert (found.batches, found.discarded, found.stopped_by) == (10 + bad, {"off core": bad}, reason)
    assert len(found.seconds) == 10


@pytest.mark.parametrize(("share", "reason"), [(0.08, "precise"), (0.12, "noisy host")])
def test_other_processes_on_the_cores_make_a_noisy_host(
    time: Time, monkeypatch: pytest.MonkeyPatch, share: float, reason: str
) -> None:
    # Two cores of which this process uses one; others take a share of both.
    monkeypatch.setattr(cpu, "_cores", lambda: {0, 1})
    monkeypatch.setattr(cpu, "_busy", lambda _: cpu._cpu_ns() * 1e-9 + share * 2 * cpu._ns() * 1e-9)
    found = CpuClock().time(Fake(time, lambda _: 5 * MS))
    assert found.stopped_by == reason
    assert found.discarded == ({"other processes on these cores": found.batches} if reason == "noisy host" else {})
    assert found.seconds == pytest.approx([5e-3] * found.batches)


def test_use_of_cores_is_read_from_the_system(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu 9 9 9 9 9 9 9 9\ncpu0 100 10 20 999 999 1 2 4 0 0\ncpu1 100 0 0 0 0 0 0 0 0 0\ncpu10 7 7 7 7 7 7 7 7 0 0\nintr 5\n"
    )
    tick = os.sysconf("SC_CLK_TCK")
    assert cpu._busy({0}, stat) == 137 / tick
    assert cpu._busy({0, 1}, stat) == 237 / tick
    assert cpu._busy({0}, tmp_path / "missing") == 0


def test_several_threads_count_together(time: Time) -> None:
    assert CpuClock().time(Fake(time, lambda _: 5 * MS, on_core=lambda _: 1.9)).stopped_by == "precise"


# -- nothing disturbs ---------------------------------------------------------------------------------------------------------


def marker() -> int:
    return 1


def timed(time: Time, seen: list[Any], fail: bool = False) -> None:
    def launch() -> None:
        time.pass_(MS)
        seen.append((gc.isenabled(), sys.gettrace(), sys.getprofile()))
        if fail:
            raise ArithmeticError

    plan = Fake(time, lambda _: 0)
    plan.sets = [Buffers(0, launch)]
    plan.verify = lambda content, outputs: None  # type: ignore[method-assign]
    if fail:
        with pytest.raises(ArithmeticError):
            CpuClock().time(plan)
    else:
        CpuClock().time(plan)


@pytest.fixture
def as_it_was() -> Iterator[None]:
    collecting, tracer, profiler = gc.isenabled(), sys.gettrace(), sys.getprofile()
    yield
    sys.settrace(tracer)
    sys.setprofile(profiler)
    (gc.enable if collecting else gc.disable)()


@pytest.mark.usefixtures("as_it_was")
@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("collecting", [True, False])
def test_no_collection_and_no_tracer_while_timing(time: Time, collecting: bool, fail: bool) -> None:
    def tracer(*_: Any) -> None:
        return None

    def profiler(*_: Any) -> None:
        return None

    seen: list[Any] = []
    (gc.enable if collecting else gc.disable)()
    sys.settrace(tracer)
    sys.setprofile(profiler)
    timed(time, seen, fail)
    after = (gc.isenabled(), sys.gettrace(), sys.getprofile())
    sys.settrace(None)
    sys.setprofile(None)
    assert after == (collecting, tracer, profiler)
    assert set(seen) == {(False, None, None)}


@pytest.mark.usefixtures("as_it_was")
def test_cprofile_goes_on_afterwards(time: Time) -> None:
    seen: list[Any] = []
    profiler = cProfile.Profile()
    profiler.enable()
    timed(time, seen)
    marker()
    profiler.disable()
    names = {name for _, _, name in pstats.Stats(profiler).stats}  # type: ignore[attr-defined]
    assert "marker" in names
    if sys.version_info < (3, 12):  # from there on it listens to sys.monitoring, which is not for us to switch
        assert "launch" not in names
    assert {entry[1:] for entry in seen} == {(None, None)}
