"""Segments: exact, quiet in noise, and awake to a step."""

import math
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dsbench.segments import LEAST_NOISE, SHORTEST, default_penalty, noise, segments, spikes, without_spikes

VALUES = st.lists(st.floats(-10, 10, allow_subnormal=False), max_size=9)
PENALTIES = st.floats(0.01, 30)


def cuts(values: Sequence[float], penalty: float) -> list[int]:
    return [piece.start for piece in segments(values, penalty)][1:]


def detected(values: Sequence[float]) -> list[int]:
    return cuts(without_spikes(values), default_penalty(values))


def error(values: Sequence[float]) -> float:
    return sum((value - fmean(values)) ** 2 for value in values)


def total(values: Sequence[float], bounds: Sequence[int], penalty: float) -> float:
    ends = [0, *bounds, len(values)]
    pieces = [values[start:stop] for start, stop in pairwise(ends)]
    return sum(error(piece) for piece in pieces) + penalty * len(bounds)


def all_cuts(start: int, stop: int) -> Iterator[list[int]]:
    """Every way to cut start..stop into pieces that are long enough."""
    yield []
    for first in range(start + SHORTEST, stop - SHORTEST + 1):
        for rest in all_cuts(first, stop):
            yield [first, *rest]


def white(seed: int, n: int, sigma: float) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(-9.0, sigma) for _ in range(n)]


# -- exactness ----------------------------------------------------------------------------------------------------------------


@given(VALUES, PENALTIES)
def test_no_segmentation_is_better(values: list[float], penalty: float) -> None:
    found = segments(values, penalty)
    assert [i for piece in found for i in range(piece.start, piece.stop)] == list(range(len(values)))
    assert all(piece.stop - piece.start >= min(SHORTEST, len(values)) for piece in found)
    assert all(piece.level == pytest.approx(fmean(values[piece.start : piece.stop])) for piece in found)
    if values:
        best = min(total(values, bounds, penalty) for bounds in all_cuts(0, len(values)))
        assert total(values, [piece.start for piece in found][1:], penalty) == pytest.approx(best, abs=1e-9)


def steppy(seed: int) -> list[float]:
    draw = random.Random(seed)
    levels = [draw.choice([0.0, 1.0, 1.5, 3.0]) for _ in range(6) for _ in range(draw.randint(1, 8))]
    return [level + draw.gauss(0, 0.4) for level in levels]


@pytest.mark.parametrize("seed", range(25))
def test_as_another_program_finds_it(seed: int) -> None:
    ruptures = pytest.importorskip("ruptures")
    numpy = pytest.importorskip("numpy")
    values = steppy(seed)
    column = numpy.array(values).reshape(-1, 1)
    for penalty in (0.3, 1.0, 4.0):
        mine = cuts(values, penalty)
        exact = ruptures.Dynp(model="l2", min_size=SHORTEST, jump=1).fit(column)
        if mine:
            assert exact.predict(n_bkps=len(mine)) == [*mine, len(values)]
        pruned = ruptures.Pelt(model="l2", min_size=SHORTEST, jump=1).fit(column).predict(pen=penalty)
        # Its pruning forgets that pieces have a shortest length: now and then it is not the best, and never better.
        assert total(values, mine, penalty) <= total(values, pruned[:-1], penalty) + 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_shifted_and_scaled(seed: int) -> None:
    values = steppy(seed)
    found = segments(values, 1.0)
    assert cuts([value + 1e4 for value in values], 1.0) == [piece.start for piece in found][1:]
    assert cuts([value * 0.01 for value in values], 1e-4) == [piece.start for piece in found][1:]
    counts = [len(cuts(values, penalty)) for penalty in (0.1, 1.0, 10.0, 1e6)]
    assert counts == sorted(counts, reverse=True) and counts[-1] == 0


def test_short_series() -> None:
    assert segments([], 1.0) == []
    for values in ([3.0], [3.0, 9.0], [1.0, 1.0, 9.0]):
        (piece,) = segments(values, 0.0)
        assert (piece.start, piece.stop, piece.level) == (0, len(values), fmean(values))
    assert cuts([1.0, 1.0, 2.0, 2.0], 0.1) == [2]


def test_equal_values_are_one_piece() -> None:
    assert cuts([-9.0] * 50, default_penalty([-9.0] * 50)) == []


@pytest.mark.parametrize("penalty", [-1.0, math.nan])
def test_a_penalty_is_not_negative(penalty: float) -> None:
    with pytest.raises(ValueError, match="the penalty is"):
        segments([1.0], penalty)


# -- the default penalty ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "series"), [(15, 400), (30, 300), (80, 100), (200, 40)])
@pytest.mark.parametrize("sigma", [0.001, 0.01])
def test_white_noise_has_no_steps(n: int, series: int, sigma: float) -> None:
    stepped = sum(bool(detected(white(seed, n, sigma))) for seed in range(series))
    assert stepped <= 0.03 * series


@pytest.mark.parametrize("step", [0.05, -0.05])
def test_a_step_of_5_percent_between_five_nights_each(step: float) -> None:
    found = 0
    for seed in range(200):
        values = white(seed, 10, 0.005)
        found += detected([*values[:5], *(value + math.log1p(step) for value in values[5:])]) == [5]
    assert found >= 190


def test_noise_is_not_moved_by_steps() -> None:
    values = white(1, 200, 0.02)
    assert noise(values) == pytest.approx(0.02, rel=0.15)
    assert noise([value + (i >= 100) for i, value in enumerate(values)]) == pytest.approx(noise(values), rel=0.05)
    assert noise([]) == noise([1.0]) == noise([1.0, 1.0, 1.0]) == LEAST_NOISE


# -- spikes -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 7, 13, 14])
def test_one_bad_night_is_no_step(place: int) -> None:
    values = [-9.0 + 0.001 * (i % 2) for i in range(15)]
    values[place] += 0.4
    assert spikes(values) == [place]
    assert detected(values) == []
    assert cuts(values, default_penalty(values)) != []


@pytest.mark.parametrize(("first", "found"), [(0, [2]), (7, [7, 9]), (13, [13])])
def test_two_bad_nights_are_a_step(first: int, found: list[int]) -> None:
    values = [-9.0 + 0.001 * (i % 2) for i in range(15)]
    for place in (first, first + 1):
        values[place] += 0.4
    assert spikes(values) == []
    assert detected(values) == found


def test_spikes_of_short_series() -> None:
    assert spikes([]) == spikes([1.0]) == spikes([1.0, 9.0]) == []
    assert without_spikes([1.0, 9.0]) == [1.0, 9.0]
