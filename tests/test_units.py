"""Quantities read and shown, budgets, and the bytes of dtypes."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dsbench.mistake import Mistake, unknown
from pytest_dsbench.units import (
    DTYPES,
    UNITS,
    budget,
    check_unit,
    matrix_unit,
    nbytes,
    quantity,
    show_bytes,
    show_delta,
    show_flop,
    show_memory,
    show_number,
    show_rate,
    show_seconds,
    show_share,
)


@pytest.mark.parametrize(
    ("text", "base", "value"),
    [
        ("4.8 TB/s", "B/s", 4.8e12),
        ("989TFLOP/s", "FLOP/s", 989e12),
        (" 141 GB ", "B", 141e9),
        ("2GiB", "B", 2 * 2**30),
        ("50 MiB", "B", 50 * 2**20),
        ("1.5 KiB", "B", 1536),
        ("0.5s", "s", 0.5),
        ("7.4 us", "s", 7.4e-6),
        ("3 ns", "s", 3e-9),
        ("2 ms", "s", 2e-3),
        ("1.83 GHz", "Hz", 1.83e9),
        ("5120 bit", "bit", 5120),
        ("1e3 B", "B", 1000),
        ("-5 B", "B", -5),
        ("+2.5e-1 PB", "B", 0.25e15),
    ],
)
def test_quantities(text: str, base: str, value: float) -> None:
    assert quantity(text, base) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "base", "sentence"),
    [
        ("", "B", "'' is not a quantity; expected a number and a unit in B, such as '141 GB'"),
        ("4.8", "B/s", "'4.8' is not a quantity"),
        ("TB/s", "B/s", "'TB/s' is not a quantity"),
        ("1.2.3 GB", "B", "'1.2.3 GB' is not a quantity"),
        (". GB", "B", "'. GB' is not a quantity"),
        ("nan B", "B", "'nan B' is not a quantity"),
        ("4.8 TB", "B/s", "'4.8 TB' has the unit 'TB'; expected a number and a unit in B/s, such as '4.8 TB/s'"),
        ("4.8 TB/s", "B", "has the unit 'TB/s'"),
        ("4.8 TB/s", "s", "has the unit 'TB/s'"),
        ("1 QB", "B", "has the unit 'QB'"),
        ("1 gB", "B", "has the unit 'gB'"),
        ("1 TiFLOP", "FLOP/s", "has the unit 'TiFLOP'"),
    ],
)
def test_what_is_no_quantity(text: str, base: str, sentence: str) -> None:
    with pytest.raises(Mistake) as raised:
        quantity(text, base)
    assert sentence in str(raised.value)


#: What writes a number, its unit, the smallest and the largest value of its prefixes, and how many of one prefix make the next.
SHOWN: dict[str, tuple[Callable[[float], str], str, float, float, int]] = {
    "seconds": (show_seconds, "s", 1e-12, 9e2, 1000),
    "bytes": (show_bytes, "B", 1.0, 9e14, 1000),
    "memory": (show_memory, "B", 1.0, 2.0**49, 1024),
    "rate": (lambda value: show_rate(value, "B/s"), "B/s", 1e3, 9e14, 1000),
}


@pytest.mark.parametrize("name", SHOWN)
@given(place=st.floats(0.0, 1.0), sign=st.sampled_from([1, -1]))
def test_what_is_shown_reads_back(name: str, place: float, sign: int) -> None:
    show, base, least, most, thousand = SHOWN[name]
    value = sign * least * (most / least) ** place
    text = show(value)
    assert quantity(text, base) == pytest.approx(value, rel=0.0051)
    number = text.split()[0]
    assert "e" not in number
    assert abs(float(number)) < thousand


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (show_seconds(1.236e-3), "1.24 ms"),
        (show_seconds(12.36e-6), "12.4 us"),
        (show_seconds(999.4e-6), "999 us"),
        (show_seconds(999.6e-6), "1.00 ms"),
        (show_seconds(9.996), "10.0 s"),
        (show_seconds(99.96e-9), "100 ns"),
        (show_seconds(1234.0), "1234 s"),
        (show_seconds(0.05e-9), "0.05 ns"),
        (show_seconds(0.0), "0 ns"),
        (show_bytes(141e9), "141 GB"),
        (show_bytes(512), "512 B"),
        (show_bytes(2.5e15), "2500 TB"),
        (show_memory(2 * 2**30), "2.00 GiB"),
        (show_memory(1023 * 2**20), "1023 MiB"),
        (show_memory(1023.9 * 2**20), "1.00 GiB"),
        (show_rate(989e12, "FLOP/s"), "989 TFLOP/s"),
        (show_rate(9000e12, "FLOP/s"), "9000 TFLOP/s"),
        (show_rate(4.8e12, "B/s"), "4.80 TB/s"),
        (show_flop(68.72e9), "68.7 GFLOP"),
        (show_flop(3.2e15), "3.20 PFLOP"),
        (show_flop(12), "12.0 FLOP"),
        (show_flop(0), "0 FLOP"),
        (show_number(0), "0"),
        (show_number(0.012345), "0.0123"),
        (show_number(562.5), "562"),
        (show_share(0.8734), "87.3 %"),
        (show_delta(math.log(1.098)), "+9.8 %"),
        (show_delta(math.log(0.9)), "-10.0 %"),
        (show_share(1.5), "150.0 %"),
        (show_share(0.00041), "0.041 %"),
        (show_share(0), "0.0 %"),
    ],
)
def test_shown(shown: str, text: str) -> None:
    assert shown == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.5s,2GiB", (0.5, 2.0 * 2**30)),
        ("2GiB, 500ms", (0.5, 2.0 * 2**30)),
        ("10us", (1e-5, None)),
        ("1 GB", (None, 1e9)),
        ("none", (None, None)),
    ],
)
def test_budgets(text: str, found: tuple[float | None, float | None]) -> None:
    assert budget(text) == pytest.approx(found)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is not a budget; expected a time, a size or both, such as '0.5s,2GiB', or 'none'"),
        ("5", "'5' is not a budget"),
        ("0.5s,", "'' is not a budget"),
        ("none,2GiB", "'none' is not a budget"),
        ("2 TB/s", "'2 TB/s' is not a budget"),
        ("0s", "'0s' is not a budget; expected more than zero"),
        ("1s,-2GiB", "'-2GiB' is not a budget; expected more than zero"),
        ("1s,2s", "'1s,2s' is not a budget; it gives two times"),
        ("1GB,2GB", "'1GB,2GB' is not a budget; it gives two sizes"),
    ],
)
def test_what_is_no_budget(text: str, sentence: str) -> None:
    with pytest.raises(Mistake) as raised:
        budget(text)
    assert str(raised.value).startswith(sentence)


def test_bytes_of_dtypes() -> None:
    sizes = {"fp64": 8, "int64": 8, "fp32": 4, "int32": 4, "fp16": 2, "bf16": 2, "fp4_e2m1": 0.5}
    assert {dtype: nbytes(dtype, 1000) for dtype in DTYPES} == {dtype: 1000 * sizes.get(dtype, 1) for dtype in DTYPES}


@given(st.integers(0, 2**70))
def test_two_fp4_share_a_byte(count: int) -> None:
    assert nbytes("fp4_e2m1", count) == -(-count // 2)
    assert nbytes("bf16", count) == 2 * count


def test_matrix_units() -> None:
    found = {dtype: matrix_unit(dtype) for dtype in DTYPES if dtype not in ("int64", "int32", "uint8", "bool")}
    assert found.pop("fp4_e2m1") == "fp4"
    assert {found.pop(name) for name in ("fp8_e4m3", "fp8_e4m3fnuz", "fp8_e5m2")} == {"fp8"}
    assert found == {name: name for name in ("fp64", "fp32", "fp16", "bf16", "int8")}
    with pytest.raises(ValueError, match="no matrix unit multiplies int32"):
        matrix_unit("int32")


def test_units_are_checked() -> None:
    for unit in UNITS:
        check_unit(unit)
    with pytest.raises(Mistake, match="unknown unit 'bf61'; did you mean 'bf16'?"):
        check_unit("bf61")


def test_an_unknown_word() -> None:
    assert unknown("GPU", "xyz", ["h20", "b200"]) == "unknown GPU 'xyz'; known: b200, h20"
    assert unknown("GPU", "h2o", []) == "unknown GPU 'h2o'; known: none"
    assert math.isinf(quantity("1e400 B", "B"))
