"""The bound: bytes over bandwidth or FLOP over peaks, whichever is more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dsbench.hardware import Hardware
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.roofline import MODEL, Bound, bound
from pytest_dsbench.units import Unit
from pytest_dsbench.work import Work

DEVICE = Hardware(name="toy", title="Toy GPU", peak={"bf16": 100.0, "fp8": 200.0, "fp32": 10.0}, bandwidth=50.0, source="made up")
amounts = st.integers(0, 2**60)
flop = st.dictionaries(st.sampled_from(["bf16", "fp8", "fp32"]), amounts)
works = st.builds(Work, read=amounts, written=amounts, flop=flop)


def test_memory_binds() -> None:
    assert bound(Work(read=75, written=25, flop={"bf16": 100}), DEVICE) == Bound(seconds=2.0, by="memory", regime="memory")


def test_compute_binds_and_units_add_up() -> None:
    found = bound(Work(read=50, written=50, flop={"bf16": 100, "fp8": 100, "fp32": 10}), DEVICE)
    assert found == Bound(seconds=2.5, by="compute", regime="compute")
    assert found.model == MODEL


def test_a_tie_is_memory() -> None:
    assert bound(Work(read=50, written=0, flop={"bf16": 100}), DEVICE).by == "memory"


def test_below_the_launch_floor() -> None:
    slow = DEVICE.replace(launch_floor=2.0)
    small, equal = Work(read=0, written=99, flop={"bf16": 1}), Work(read=100, written=0)
    assert bound(small, slow) == Bound(seconds=1.98, by="memory", regime="launch")
    assert bound(Work(read=0, written=1, flop={"bf16": 100}), slow) == Bound(seconds=1.0, by="compute", regime="launch")
    assert bound(equal, slow).regime == "memory"
    assert bound(small, DEVICE).regime == "memory"


def test_a_missing_unit_is_named_with_the_device() -> None:
    work = Work(read=1, written=1, flop={"fp32": 1, "fp4": 5})
    with pytest.raises(Mistake) as raised:
        bound(work, DEVICE)
    assert str(raised.value) == "toy (Toy GPU) has no fp4 peak; its sheet has bf16, fp8, fp32"


def test_no_flop_of_a_missing_unit_is_no_need_of_it() -> None:
    assert bound(Work(read=50, written=0, flop={"fp4": 0}), DEVICE).seconds == 1.0


def test_ridge() -> None:
    assert DEVICE.ridge("fp8") == 4.0
    below, above = Work(read=100, written=0, flop={"fp8": 399}), Work(read=100, written=0, flop={"fp8": 401})
    assert [bound(work, DEVICE).by for work in (below, above)] == ["memory", "compute"]


@given(works, works)
def test_more_work_never_takes_less(work: Work, more: Work) -> None:
    total = bound(work + more, DEVICE).seconds
    assert total >= bound(work, DEVICE).seconds
    assert total <= (bound(work, DEVICE).seconds + bound(more, DEVICE).seconds) * (1 + 1e-12)


@given(works, amounts, amounts, st.sampled_from(["bf16", "fp8", "fp32"]))
def test_monotone_in_bytes_and_in_flop(work: Work, size: int, count: int, unit: Unit) -> None:
    least = bound(work, DEVICE).seconds
    assert bound(work + Work(read=size, written=0), DEVICE).seconds >= least
    assert bound(work + Work(read=0, written=size), DEVICE).seconds >= least
    assert bound(work + Work(read=0, written=0, flop={unit: count}), DEVICE).seconds >= least


@given(works, st.floats(1.0, 100.0))
def test_a_faster_device_never_takes_longer(work: Work, factor: float) -> None:
    fast = DEVICE.replace(bandwidth=DEVICE.bandwidth * factor, peak={unit: rate * factor for unit, rate in DEVICE.peak.items()})
    assert bound(work, fast).seconds == pytest.approx(bound(work, DEVICE).seconds / factor)
