"""The score: which cases count, what a run's providers make of it, and what stands apart."""

from typing import Any

import pytest

from pytest_dsbench.measurement import Measurement, Planned
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.score import SELECTIONS, Entry, entries, score
from pytest_dsbench.shapes import Provenance

PUBLISHED, MENDED = SELECTIONS


def entry(operator: str, efficiency: float, importance: float = 0.5, **more: Any) -> Entry:
    kind = {"published": True, "suspect": False, "recovered": False, "floor_bound": False} | more
    return Entry(operator=operator, provider="torch", importance=importance, efficiency=efficiency, **kind)


def measured(tokens: int, efficiency: float | None, provider: str = "torch", **more: Any) -> Measurement:
    given = {"importance": 0.5, "provenance": Provenance(id=tokens), "tags": ()} | more.pop("case", {})
    planned = Planned(operator="rms_norm", dims={"tokens": tokens}, label="", where="a:1", provider=provider, **given)
    return Measurement(case=planned, efficiency=efficiency, **{"status": "passed", "cold": True} | more)


def test_medians_are_weighed_by_importance() -> None:
    found = [entry("a", share, 0.6) for share in (0.1, 0.5, 0.3)] + [entry("b", 0.8, 0.2)]
    one = score(found, PUBLISHED)
    assert [(part.operator, part.cases, part.median) for part in one.operators] == [("a", 3, 0.3), ("b", 1, 0.8)]
    assert one.raw == pytest.approx(0.6 * 0.3 + 0.2 * 0.8)
    assert one.importance == pytest.approx(0.8)
    assert one.normalised == pytest.approx(one.raw / 0.8)


def test_selections() -> None:
    found = [
        entry("a", 0.1),
        entry("a", 0.2, suspect=True),
        entry("a", 0.9, published=False, recovered=True),
        entry("a", 1.0, published=False),
    ]
    assert [(score(found, name).operators[0].cases, score(found, name).raw) for name in SELECTIONS] == [
        (2, pytest.approx(0.5 * 0.15)),
        (2, pytest.approx(0.5 * 0.5)),
    ]


def test_floor_bound_cases_count_and_stand_apart() -> None:
    (one,) = score([entry("a", 0.01, floor_bound=True), entry("a", 0.5), entry("a", 0.6)], PUBLISHED).operators
    assert (one.cases, one.floor_bound, one.median, one.above_floor) == (3, 1, 0.5, 0.55)
    (lonely,) = score([entry("a", 0.01, floor_bound=True)], PUBLISHED).operators
    assert lonely.above_floor is None


def test_nothing_counts() -> None:
    empty = score([entry("a", 0.5, published=False)], PUBLISHED)
    assert (empty.operators, empty.raw, empty.normalised) == ((), 0.0, 0.0)


def test_a_case_counts_once_by_its_fastest_provider() -> None:
    found = [measured(1, 0.2), measured(1, 0.7, "triton"), measured(2, 0.4)]
    assert [(one.provider, one.efficiency) for one in entries(found)] == [("triton", 0.7), ("torch", 0.4)]
    assert [one.efficiency for one in entries(found, "torch")] == [0.2, 0.4]
    with pytest.raises(Mistake, match="--provider: unknown provider of this run 'tritn'; did you mean 'triton'"):
        entries(found, "tritn")


@pytest.mark.parametrize(
    "more",
    [
        {"status": "failed"},
        {"status": "invalid"},
        {"status": "noisy_host"},
        {"status": "skipped", "efficiency": None},
        {"cold": False},
        {"case": {"importance": None}},
    ],
)
def test_what_may_not_be_judged_does_not_count(more: dict[str, Any]) -> None:
    assert entries([measured(1, **{"efficiency": 0.5} | more)]) == []


def test_tags_and_provenance_reach_the_entry() -> None:
    recovered = {"provenance": Provenance(recovers=3), "tags": ("production", "recovered")}
    suspect = {"tags": ("suspect",)}
    found = entries([measured(1, 0.5, case=recovered), measured(2, 0.5, case=suspect, notes=("floor-bound: less",))])
    assert [(one.published, one.recovered, one.suspect, one.floor_bound) for one in found] == [
        (False, True, False, False),
        (True, False, True, True),
    ]
