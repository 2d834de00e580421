"""The verdict over the pairs of a duet, and what it says in the terminal."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dsbench.duet.conduct import Duel, Half
from pytest_dsbench.duet.decide import LIMITS, Limits, decide, fought, limits_of, settled
from pytest_dsbench.measurement import Planned
from pytest_dsbench.report.duet import count_line, duel_lines, head_line
from pytest_dsbench.stats import interval
from pytest_dsbench.thresholds import Thresholds

some = st.lists(st.floats(-2, 2), min_size=1, max_size=20)


@given(some)
def test_the_interval_holds_the_change(deltas: list[float]) -> None:
    change, low, high, _, scale = decide(deltas)
    assert low < change < high
    half = 1.96 * 1.253 * scale / math.sqrt(len(deltas))
    # At least as wide as the scale says, and as the order statistics say, which know no scale.
    assert low <= change - half and high >= change + half and scale > 0
    assert low <= interval(deltas, 1.28)[0] and high >= interval(deltas, 1.28)[1]


@given(some)
def test_slower_and_faster_mirror_each_other(deltas: list[float]) -> None:
    here, there = decide(deltas), decide([-delta for delta in deltas])
    assert (here.change, here.low, here.high, here.scale) == (-there.change, -there.high, -there.low, there.scale)
    mirror = {"regressed": "improved", "improved": "regressed", "same": "same"}
    assert there.outcome == mirror[here.outcome]


@given(some, st.floats(0.01, 100))
def test_all_of_it_grows_with_the_deltas(deltas: list[float], factor: float) -> None:
    here, there = decide(deltas, pooled=0.01), decide([factor * delta for delta in deltas], pooled=factor * 0.01)
    for one, other in zip(here[:3], there[:3], strict=True):
        assert other == pytest.approx(factor * one, rel=1e-6, abs=1e-9)
    assert there.scale == pytest.approx(factor * here.scale)


@given(some, st.randoms())
def test_the_order_of_the_pairs_is_nothing(deltas: list[float], rng: random.Random) -> None:
    assert decide(rng.sample(deltas, len(deltas))) == decide(deltas)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [(0.0, "same"), (0.0179, "same"), (0.0181, "regressed"), (0.05, "regressed"), (-0.05, "improved")],
)
def test_thresholds(change: float, outcome: str) -> None:
    """Nine equal deltas: their own scale is 0, the pooled one makes it 0.5 % sqrt(4 / 13), and the interval +-0.227 %."""
    found = decide([math.log1p(change)] * 9)
    assert found.scale == pytest.approx(0.005 * math.sqrt(4 / 13))
    assert found.high - found.change == pytest.approx(1.96 * 1.253 * found.scale / 3)
    assert found.outcome == outcome


def test_both_conditions_count() -> None:
    wide = [0.0, 0.005, 0.01, 0.04, 0.05, 0.06, 0.08, 0.09, 0.1]
    assert decide(wide).change == 0.05 and decide(wide).outcome == "same", "one end of the interval is at 1 %"
    assert decide([value + 0.01 for value in wide]).outcome == "regressed"
    assert decide([-0.5, -0.4, 0.03, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05]).outcome == "regressed", "two pairs were disturbed"
    assert decide([-0.5, -0.4, 0.0, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05]).outcome == "same"
    assert decide([0.0] * 4 + [0.03] * 5).outcome == "same", "two speeds, and five pairs that agree by chance"
    assert decide([3 * one - 0.1 for one in wide]).outcome == "same"
    assert decide([0.0178] * 9, pooled=1e-6).outcome == "same"


def test_limits_can_be_set() -> None:
    deltas = [math.log1p(0.03)] * 9
    assert decide(deltas, limits=LIMITS.replace(change=0.05)).outcome == "same"
    assert decide(deltas, limits=LIMITS.replace(bound=0.029)).outcome == "same"
    assert decide(deltas, pooled=0.05).outcome == "same"


def test_a_duet_that_confirms_ends_when_it_is_settled() -> None:
    limits = limits_of(Thresholds(settled=0.01, duet_change=0.02, duet_bound=0.016, pseudo=5))
    assert limits == Limits(change=0.02, bound=0.016, pseudo=5, settled=0.01)
    assert not settled([0.0, 0.0], limits) and settled([0.0, 0.5, 0.009], limits) and not settled([0.0, 0.011, 0.5], limits)
    assert fought([0.03, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0], limits) == (0.03, 0.02, 0.0, 0.0, 0.0)
    assert fought([0.03] * 9, limits) == (0.03,) * 9
    assert not settled([0.0] * 8, LIMITS), "a duet that was asked for is fought to its end"


def test_one_pair_is_little() -> None:
    """A single pair has the pooled scale, shrunk as if it had been seen at zero once."""
    found = decide([math.log1p(0.02)])
    assert found.outcome == "same" and found.scale == pytest.approx(0.005 * math.sqrt(4 / 5))


CASE = Planned(operator="doubled", dims={}, label="rows16", where="a:1", provider="good")


def test_lines() -> None:
    change, low, high, outcome, scale = decide([math.log1p(0.05)] * 9)
    slower = Duel(
        case=CASE,
        outcome=outcome,
        notes=("a note",),
        deltas=(change,) * 9,
        change=change,
        low=low,
        high=high,
        scale=scale,
        old=Half(seconds=1e-5, packages={"torch": "2.13.0+cpu", "triton": "3.5.0"}),
        new=Half(seconds=1.05e-5, packages={"torch": "2.13.0+cpu", "triton": "3.6.0"}),
        mode="cpu",
    )
    lost = Duel(case=CASE, outcome="timed_out", reason="new hung")
    width = len(CASE.name)
    head, line, note, other, reason = [head_line(width), *duel_lines(slower, width), *duel_lines(lost, width)]
    words = "doubled[rows16] good triton 3.5.0 triton 3.6.0 10.0 us 10.5 us +5.0 % +4.8 % .. +5.2 % regressed"
    assert " ".join(line.split()) == words
    assert other.split() == ["doubled[rows16]", "good", *"-" * 6, "timed", "out"]
    assert (note, reason) == ("  a note", "  new hung")
    assert head.index("verdict") == line.index("regressed") == other.index("timed out")
    assert count_line([slower, lost, slower]) == "2 regressed, 1 timed out"
    assert slower.pairs == 9
