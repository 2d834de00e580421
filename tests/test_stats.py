"""The interval of a median, and the estimate made of it."""

import math
import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dsbench.record import from_line, to_line
from pytest_dsbench.stats import Estimate, estimate, interval

some = st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=200)


def coverage(n: int, low: float, high: float) -> float:
    """How often two order statistics of n samples hold the median, whatever they are drawn from: a sum of binomial shares."""
    return sum(math.comb(n, below) for below in range(int(low) + 1, int(high) + 1)) / 2**n


@pytest.mark.parametrize("n", [*range(6, 60), 100, 300, 1000, 3000])
def test_covers_95_percent_and_a_narrower_one_would_not(n: int) -> None:
    low, high = interval(range(n))
    assert coverage(n, low, high) >= 0.95
    assert coverage(n, low + 1, high - 1) < 0.955


@pytest.mark.parametrize("n", [12, 30, 101])
@pytest.mark.parametrize("skewed", [False, True])
def test_covers_by_simulation(n: int, skewed: bool) -> None:
    rng = random.Random(n)
    draw, middle = (lambda: rng.expovariate(1.0), math.log(2)) if skewed else (lambda: rng.gauss(5.0, 0.1), 5.0)
    inside = 0
    for _ in range(1500):
        low, high = interval([draw() for _ in range(n)])
        inside += low <= middle <= high
    assert 0.94 <= inside / 1500 <= 0.98


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_few_samples_give_their_range(n: int) -> None:
    values = [float(value) for value in range(n)]
    assert interval(values) == (0.0, n - 1)


def test_ranks() -> None:
    assert interval(range(30)) == (9, 20)
    assert interval(range(100)) == (39, 60)


@given(some)
def test_symmetric_and_around_the_median(values: list[float]) -> None:
    low, high = interval(values)
    assert low in values and high in values
    assert low <= median(values) <= high
    assert interval([-value for value in values]) == (-high, -low)
    assert interval(sorted(values, reverse=True)) == (low, high)


def test_ties() -> None:
    assert interval([2.0] * 40) == (2.0, 2.0)
    assert interval([1.0] * 20 + [2.0] * 20) == (1.0, 2.0)
    assert estimate([2.0] * 40, "precise").half_width == 0.0


def test_the_samples_are_left_alone() -> None:
    values = [3.0, 1.0, 2.0]
    estimate(values, "samples")
    assert values == [3.0, 1.0, 2.0]


def test_estimate() -> None:
    found = estimate([1.0, 2.0, 4.0, 3.0], "samples")
    assert found == Estimate(median=2.5, low=1.0, high=4.0, n=4, stopped_by="samples")
    assert found.half_width == pytest.approx(1.5 / 2.5)
    assert estimate([0.0, 0.0], "samples").half_width == 0.0
    assert from_line(to_line(found), Estimate, "here") == found
