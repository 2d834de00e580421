"""The summary of a run: a line per operator and provider whatever the number of cases, then the notes, each once."""

from typing import Any

import pytest

from pytest_dsbench.environment import Environment
from pytest_dsbench.hardware import Hardware
from pytest_dsbench.measurement import Measurement, Planned
from pytest_dsbench.report.table import table
from pytest_dsbench.report.terminal import summary_lines
from pytest_dsbench.roofline import Bound
from pytest_dsbench.runs import Header
from pytest_dsbench.shapes import Provenance
from pytest_dsbench.stats import Estimate

SHEET = Hardware(name="toy", title="Toy GPU", peak={"bf16": 1e14}, bandwidth=1e12, source="made up")
HEADER = Header(started="2026-11-21T03:04:05", environment=Environment(device="cpu"), hardware=SHEET)
HEAD = "operator provider share pass fail skip median worst T T_SOL regime worst case"


def case(
    efficiency: float | None = None,
    status: Any = "passed",
    *,
    operator: str = "rms_norm",
    provider: str = "torch",
    label: str = "t1",
    regime: Any = "memory",
    **more: Any,
) -> Measurement:
    """A measurement; with an efficiency it took 1 ms."""
    planned = Planned(operator=operator, dims={}, label=label, where="a.toml:1", provider=provider)
    if efficiency is None:
        return Measurement(case=planned, status=status, **more)
    bound = Bound(seconds=efficiency * 1e-3, by="memory", regime=regime)
    time = Estimate(median=1e-3, low=0.99e-3, high=1.01e-3, n=30, stopped_by="precise")
    fields = {"time": time, "bound": bound, "efficiency": efficiency, "mode": "cpu", "cold": True} | more
    return Measurement(case=planned, status=status, **fields)


def summary(*found: Measurement, header: Header = HEADER, verbose: bool = False) -> list[str]:
    return summary_lines(found, header, verbose)


def rows(lines: list[str]) -> list[str]:
    """The lines of the table of operators, with a space between cells."""
    at = next(number for number, line in enumerate(lines) if line.split() == HEAD.split())
    end = lines.index("", at) if "" in lines[at:] else len(lines)
    return [" ".join(line.split()) for line in lines[at + 1 : end]]


def test_counts_median_and_worst() -> None:
    found = [case(share, label=f"t{n}") for n, share in enumerate([0.5, 0.9, 0.2, 0.8])]
    found += [case(status="failed"), case(1.5, "invalid"), case(status="skipped", reason="r"), case(status="checked")]
    assert rows(summary(*found)) == [
        "rms_norm torch - 5 2 1 65.0 % 20.0 % 1.00 ms 200 us memory t2",
    ]


def test_a_line_per_operator_and_provider_in_order_of_appearance() -> None:
    found = [
        case(0.5, operator="b", provider="y", regime="compute"),
        case(0.4, operator="a", provider="x"),
        case(0.3, operator="b", provider="x"),
        case(0.2, operator="b", provider="y", regime="launch", label="t9"),
    ]
    assert rows(summary(*found)) == [
        "b y - 2 0 0 35.0 % 20.0 % 1.00 ms 200 us launch t9",
        "a x - 1 0 0 40.0 % 40.0 % 1.00 ms 400 us memory t1",
        "b x - 1 0 0 30.0 % 30.0 % 1.00 ms 300 us memory t1",
    ]


def test_nothing_that_was_timed() -> None:
    assert rows(summary(case(status="skipped", reason="r"))) == ["rms_norm torch - 0 0 1 - - - - - -"]
    assert rows(summary(case(0.5, "failed"), case(0.6, "invalid"), case(status="checked"))) == [
        "rms_norm torch - 1 2 0 - - - - - -"
    ]


def test_noisy_and_hot_cases_are_not_judged() -> None:
    found = [
        case(0.1, "noisy_host", reason="r"),
        case(0.1, "throttled", reason="r"),
        case(0.2, cold=False),
        case(0.6, label="cold"),
    ]
    assert rows(summary(*found)) == ["rms_norm torch - 4 0 0 60.0 % 60.0 % 1.00 ms 600 us memory cold"]
    # Where every case is hot they are shown after all.
    assert rows(summary(case(0.2, cold=False))) == ["rms_norm torch - 1 0 0 20.0 % 20.0 % 1.00 ms 200 us memory t1"]


def test_the_score_stands_under_the_table() -> None:
    def weighed(efficiency: float, operator: str, importance: float, **more: Any) -> Measurement:
        one = case(efficiency, operator=operator)
        return one.replace(case=one.case.replace(importance=importance, **more))

    found = [
        weighed(0.5, "a", 0.4, provenance=Provenance(id=1)),
        weighed(0.25, "b", 0.1, provenance=Provenance(id=2), tags=("suspect",)),
        weighed(0.75, "b", 0.1, provenance=Provenance(recovers=2), tags=("recovered",), dims={"tokens": 3}),
        case(status="skipped", operator="c", reason="r"),
    ]
    lines = summary(*found)
    assert rows(lines)[:2] == [
        "a torch 40.0 % 1 0 0 50.0 % 50.0 % 1.00 ms 500 us memory t1",
        "b torch 10.0 % 2 0 0 50.0 % 25.0 % 1.00 ms 250 us memory t1",
    ]
    at = lines.index("", 3)
    assert lines[at + 1 : at + 3] == [
        "score, published: 22.50 % raw, 45.00 % normalised; 2 of 2 operators, importance 0.50000 of 0.50000",
        "score, published minus suspect plus recovered: 27.50 % raw, 55.00 % normalised;"
        " 2 of 2 operators, importance 0.50000 of 0.50000",
    ]


def test_notes_and_reasons_are_counted_once() -> None:
    found = [
        *(case(0.5, notes=("floor-bound: less", "hot: fits")) for _ in range(3)),
        case(0.5, notes=("hot: fits",)),
        *(case(status="skipped", reason=f"T_SOL {n}.9 s over the budget of 0.5 s") for n in range(5)),
        *(case(status="skipped", reason=f"memory {n}.00 GiB over the budget of 2.00 GiB") for n in (3, 4)),
        case(status="skipped"),
        *(
            case(0.5, "noisy_host", reason=f"{n} of {n + 4} batches discarded: off core {n}x; shown, never gated")
            for n in (9, 12)
        ),
        case(0.5, "throttled", reason="7 of 9 batches discarded: held down by power or heat 7x; shown, never gated"),
        case(status="failed", reason="wrong, and said so elsewhere", notes=("hot: fits",)),
    ]
    lines = summary(
        *found,
        header=HEADER.replace(absent=("triton: needs it", "fla: cuda only", "b: needs it"), notes=("the flush does not work",)),
    )
    assert lines[lines.index("") + 3 :] == [
        "",
        "   5 cases: hot: fits",
        "   3 cases: floor-bound: less",
        "   2 cases: noisy host: batches discarded: off core; shown, never gated",
        "   1 case: throttled: batches discarded: held down by power or heat; shown, never gated",
        "   5 cases skipped: T_SOL over the budget of 0.5 s",
        "   2 cases skipped: memory over the budget of 2.00 GiB",
        "   1 case skipped: no reason",
        "skipped: b, triton: needs it",
        "skipped: fla: cuda only",
        "the flush does not work",
    ]


def test_what_ran() -> None:
    found = [
        case(0.5, ran=("aten.mul", "aten.rsqrt"), packages={"torch": "2.9"}),
        case(0.5, ran=("aten.rsqrt", "aten.add"), packages={"torch": "2.9"}, label="t2"),
        case(0.5, ran=("bench.kernel",), provider="own"),
        case(status="skipped", reason="r", provider="triton", packages={"triton": "3"}),
    ]
    assert summary(*found)[-3:] == [
        "",
        "torch ran torch 2.9: aten.mul, aten.rsqrt, aten.add",
        "own ran this project: bench.kernel",
    ]
    assert not any(" ran " in line for line in summary(case(0.5)))


def test_a_line_per_case_when_asked() -> None:
    found = [case(0.5, label="t1"), case(status="skipped", reason="r", label="t2")]
    lines = summary(*found, verbose=True)
    assert [" ".join(line.split()) for line in lines[2:5]] == [
        "case status T T_SOL efficiency regime clock",
        "rms_norm[t1] torch passed 1.00 ms +-1.0 % 500 us 50.0 % memory cpu",
        "rms_norm[t2] torch skipped - - - - -",
    ]
    assert lines[5] == "" and lines[6].split() == HEAD.split()
    assert not any(line.startswith("rms_norm[") for line in summary(*found))


def test_a_thousand_cases_stay_a_line_per_operator() -> None:
    found = [
        case(
            0.1 + n / 2000,
            operator=f"op{n % 8}",
            label=f"t{n}",
            notes=("hot: fits",),
            ran=("aten.mul",),
            packages={"torch": "2.9"},
        )
        for n in range(1000)
    ]
    found += [case(status="skipped", operator=f"op{n % 8}", reason=f"T_SOL {n} s over the budget of 0.5 s") for n in range(500)]
    lines = summary(*found)
    assert len(rows(lines)) == 8
    # Headline, head and 8 operators, a note, a reason, what ran, and blank lines between.
    assert len(lines) == 2 + 9 + 3 + 2
    assert max(map(len, lines)) <= 130


def test_nothing_at_all() -> None:
    assert summary() == [
        "toy: Toy GPU; 1.00 TB/s; bf16 100 TFLOP/s",
        "",
        HEAD.replace(" ", "  ").replace("worst  case", "worst case"),
    ]


def test_columns() -> None:
    found = [case(0.5, label="a_long_label-of a case"), case(0.25, operator="op", label="b")]
    head, first, second = summary(*found)[2:5]
    # Names to the left, numbers to the right.
    assert head.index("worst case") == first.index("a_long") == second.rindex("b")
    assert head.index("median") + len("median") == first.index("50.0 %") + len("50.0 %")
    assert all(line == line.rstrip() for line in (head, first, second))


@pytest.mark.parametrize(
    ("left", "last_left", "expected"),
    [
        (1, False, ["a     bb    c", "aaa    b  ccc", "a    bbb    c"]),
        (2, False, ["a    bb     c", "aaa  b    ccc", "a    bbb    c"]),
        (0, True, ["  a   bb  c", "aaa    b  ccc", "  a  bbb  c"]),
    ],
)
def test_tables(left: int, last_left: bool, expected: list[str]) -> None:
    rows = [["aaa", "b", "ccc"], ["a", "bbb", "c"]]
    assert table(["a", "bb", "c"], rows, left=left, last_left=last_left) == expected
