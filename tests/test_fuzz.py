"""Fuzzing: what is drawn is legal and repeatable, and what is found is the smallest shape that fails."""

from typing import Any

import pytest

pytest.importorskip("hypothesis", reason="hypothesis draws the shapes")

from hypothesis import HealthCheck, given, settings

from pytest_dsbench.dims import as_row
from pytest_dsbench.fuzz import Failure, shapes, smallest_failure
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operator import Dim, Lengths, Operator
from pytest_dsbench.operators import everything
from pytest_dsbench.operators.attention_forward import AttentionForward
from pytest_dsbench.operators.rms_norm import RmsNorm
from pytest_dsbench.work import Work

OURS = [cls for cls in everything().values() if cls.__module__.startswith("pytest_dsbench.")]


def drawn(operator: type[Operator], count: int, seed: int) -> list[Operator]:
    found: list[Operator] = []
    assert smallest_failure(operator, found.append, count, seed) is None
    return found


@pytest.mark.parametrize("operator", OURS, ids=lambda cls: cls.name)
def test_every_operator_has_legal_shapes_to_draw(operator: type[Operator]) -> None:
    found = drawn(operator, 60, seed=1)
    assert len(set(found)) >= 20
    for op in found:
        assert operator.build({name: getattr(op, name) for name in operator.__struct_fields__}) == op


def test_a_seed_makes_it_repeatable() -> None:
    assert drawn(RmsNorm, 25, seed=7) == drawn(RmsNorm, 25, seed=7) != drawn(RmsNorm, 25, seed=8)


def test_sizes_at_and_beside_powers_of_two_are_common() -> None:
    sizes = [op.hidden for op in drawn(RmsNorm, 200, seed=3)]  # type: ignore[attr-defined]
    assert 1 in sizes and any(size % 2 for size in sizes)
    assert sum(bin(size).count("1") == 1 for size in sizes) > 10
    assert sum(bin(size + 1).count("1") == 1 for size in sizes) > 10


@pytest.mark.parametrize(
    ("operator", "is_wrong", "smallest"),
    [
        (RmsNorm, lambda op: op.hidden > 37 and op.tokens > 2, "{ tokens = 3, hidden = 38 }"),
        (RmsNorm, lambda op: op.dtype == "fp16", '{ tokens = 1, hidden = 1, dtype = "fp16" }'),
        (AttentionForward, lambda op: max(op.seq_lens) >= 20, "{ heads = 1, head_dim = 1, seq_lens = [20] }"),
    ],
)
def test_a_failure_is_shrunk(operator: type[Operator], is_wrong: Any, smallest: str) -> None:
    def attempt(op: Operator) -> None:
        if is_wrong(op):
            raise Failure(op, "wrong")

    failure = smallest_failure(operator, attempt, 200, seed=0)
    assert failure is not None and str(failure) == "wrong"
    assert as_row(failure.op) == smallest


def test_a_failure_that_comes_and_goes_is_one() -> None:
    seen: set[Operator] = set()

    def attempt(op: Operator) -> None:
        if op not in seen:
            seen.add(op)
            raise Failure(op, "wrong the first time")

    failure = smallest_failure(RmsNorm, attempt, 50, seed=0)
    assert failure is not None and failure.op in seen


def test_an_operator_without_a_legal_shape() -> None:
    class Impossible(Operator):
        size: Dim

        def contradiction(self) -> str | None:
            return "no size is right"

    with pytest.raises(Mistake, match="impossible: no legal shape could be drawn"):
        smallest_failure(Impossible, lambda _: None, 20, seed=0)


class Jagged(Operator):
    """Every kind of dimension."""

    lens: Lengths
    wide: Dim
    pages: Dim = 16
    #: drawn as asked
    fuzz = {"lens": (2, 5), "wide": "= 8 * _eights", "_eights": [1, 3], "pages": [16, 64]}

    def work(self) -> Work:
        return Work(read=sum(self.lens), written=self.wide)


def test_ranges_choices_and_formulas() -> None:
    found = drawn(Jagged, 100, seed=5)
    assert {op.wide for op in found} == {8, 24} and {op.pages for op in found} == {16, 64}  # type: ignore[attr-defined]
    lens = [op.lens for op in found]  # type: ignore[attr-defined]
    assert {size for one in lens for size in one} == {2, 3, 4, 5} and {len(one) for one in lens} >= {1, 6}


@pytest.mark.parametrize("operator", OURS, ids=lambda cls: cls.name)
def test_a_row_reads_back_as_the_shape(operator: type[Operator]) -> None:
    import tomllib

    @given(shapes(operator))
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def check(op: Operator) -> None:
        assert operator.build(tomllib.loads(f"row = {as_row(op)}")["row"]) == op

    check()


def test_ranges_are_of_dimensions_or_helpers() -> None:
    for operator in OURS:
        for name in operator.fuzz:
            assert name.startswith("_") or name in operator.__struct_fields__, f"{operator.name}: {name}"
