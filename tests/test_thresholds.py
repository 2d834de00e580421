"""The lines of the ini value dsbench_gate."""

import re
from math import log1p
from pathlib import Path

import msgspec
import pytest

from pytest_dsbench.mistake import Mistake
from pytest_dsbench.thresholds import MEANING, Thresholds, thresholds

FIELDS = {field.name: field for field in msgspec.structs.fields(Thresholds)}


def refused(*lines: str) -> str:
    with pytest.raises(Mistake) as caught:
        thresholds(lines)
    return str(caught.value)


def test_none() -> None:
    assert thresholds([]) == Thresholds()


def test_every_threshold_can_be_set() -> None:
    values = {name: int(field.default) + 2 if field.type is int else field.default / 2 for name, field in FIELDS.items()}
    found = thresholds(f" {name}={value} " for name, value in values.items())
    assert {name: getattr(found, name) for name in FIELDS} == values
    assert all(type(getattr(found, name)) is field.type for name, field in FIELDS.items())


def test_each_has_a_meaning() -> None:
    assert list(MEANING) == list(FIELDS) and all(MEANING.values())


def test_the_least_change_as_a_logarithm() -> None:
    assert thresholds(["min_change = 0.02"]).least == pytest.approx(log1p(0.02))


@pytest.mark.parametrize("line", ["min_chang = 0.02", "min_chang"])
def test_an_unknown_threshold(line: str) -> None:
    text = refused(line)
    assert text.startswith("dsbench_gate: unknown threshold 'min_chang'; did you mean 'min_change'? known: anchor, ")
    assert set(re.split(", ", text.partition("known: ")[2])) == set(FIELDS)


def test_without_a_value() -> None:
    assert refused("min_change") == "dsbench_gate: 'min_change'; expected name = value, such as min_change = 0.02"


@pytest.mark.parametrize("text", ["", "x", "0", "-0.1", "nan", "inf", "1.5 %", "2", "1"])
def test_a_share_that_is_none(text: str) -> None:
    """2 was meant as 2 %: taken as it is, no slowdown would be found any more."""
    assert refused(f"min_change = {text}") == (
        f"dsbench_gate: min_change = {text}; expected a share between 0 and 1, such as 0.015 for 1.5 %"
    )


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf"])
def test_a_number_that_is_none(text: str) -> None:
    assert refused(f"strict_t = {text}") == f"dsbench_gate: strict_t = {text}; expected a number above 0"


@pytest.mark.parametrize("line", ["strict_t = 6", "creep_k = 1", "creep_h = 20.5", "pseudo = 0", "confirmations = 0"])
def test_numbers_that_are_no_shares(line: str) -> None:
    name, _, value = line.split()
    assert getattr(thresholds([line]), name) == float(value)


@pytest.mark.parametrize(
    ("name", "text", "least"),
    [("history", "1", 2), ("learn", "1", 2), ("reruns", "0", 1), ("pairs", "1", 2), ("pseudo", "-1", 0), ("history", "7.5", 2)],
)
def test_a_count_that_is_none(name: str, text: str, least: int) -> None:
    assert refused(f"{name} = {text}") == f"dsbench_gate: {name} = {text}; expected a whole number of at least {least}"


def test_every_count_has_a_least_and_every_default_is_allowed() -> None:
    assert thresholds(f"{name} = {field.default}" for name, field in FIELDS.items()) == Thresholds()
    for name, field in FIELDS.items():
        if field.type is int:
            assert "expected a whole number of at least" in refused(f"{name} = -1")


def test_a_window_too_short_to_learn() -> None:
    assert refused("history = 4") == "dsbench_gate: history = 4 nights are fewer than learn = 5"
    assert refused("learn = 16") == "dsbench_gate: history = 15 nights are fewer than learn = 16"
    assert thresholds(["history = 4", "learn = 4"]).history == 4


def test_the_documented_table() -> None:
    text = (Path(__file__).parent.parent / "docs" / "gate.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in text.splitlines() if line.startswith("| `")]
    fields = msgspec.structs.fields(Thresholds)
    assert rows == [[f"`{one.name}`", f"{one.default:g}", MEANING[one.name]] for one in fields]
