"""Work adds up and scales."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dsbench.record import from_line, to_line
from pytest_dsbench.units import UNITS
from pytest_dsbench.work import Work

flop = st.dictionaries(st.sampled_from(UNITS), st.integers(0, 2**60), max_size=4)
works = st.builds(Work, read=st.integers(0, 2**60), written=st.integers(0, 2**60), flop=flop)


def test_sums() -> None:
    left, right = Work(read=1, written=2, flop={"bf16": 3}), Work(read=10, written=20, flop={"bf16": 30, "fp32": 40})
    assert left + right == Work(read=11, written=22, flop={"bf16": 33, "fp32": 40})
    assert (left + right).bytes == 33
    assert (left + right).flops == 73
    assert left == Work(read=1, written=2, flop={"bf16": 3})


def test_products() -> None:
    assert Work(read=1, written=2, flop={"bf16": 3, "fp32": 1}) * 4 == Work(read=4, written=8, flop={"bf16": 12, "fp32": 4})
    assert Work(read=1, written=2) * 0 == Work(read=0, written=0)


def test_intensity() -> None:
    assert Work(read=6, written=2, flop={"bf16": 12, "fp32": 4}).intensity == 2.0
    assert Work(read=0, written=0, flop={"bf16": 12}).intensity == 0.0
    assert Work(read=1, written=0).intensity == 0.0


@given(works, works, works)
def test_adding_is_associative_and_commutative(a: Work, b: Work, c: Work) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert (a + b).bytes == a.bytes + b.bytes and (a + b).flops == a.flops + b.flops


@given(works, st.integers(1, 5))
def test_times_is_repeated_adding(work: Work, times: int) -> None:
    total = work
    for _ in range(times - 1):
        total = total + work
    assert work * times == total


@given(works)
def test_travels_as_a_line(work: Work) -> None:
    assert from_line(to_line(work), Work, "here") == work


def test_no_two_works_share_their_flop() -> None:
    first, second = Work(read=1, written=1), Work(read=1, written=1)
    assert first.flop is not second.flop
    with pytest.raises(AttributeError):
        first.read = 2  # type: ignore[misc]
