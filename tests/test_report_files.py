"""CSV, Parquet, results.json and summary.md: every figure against the records, and readable by others."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reported

from pytest_dsbench.dims import read_dims
from pytest_dsbench.measurement import Measurement, Planned, shape_of
from pytest_dsbench.operators import find
from pytest_dsbench.report.files import write
from pytest_dsbench.report.files.document import Document
from pytest_dsbench.report.files.tables import COLUMNS
from pytest_dsbench.results import collect
from pytest_dsbench.roofline import Bound
from pytest_dsbench.stats import Estimate
from pytest_dsbench.verdict import Verdict
from pytest_dsbench.work import Work

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "docs" / "results.schema.json"
HEAD = reported.header("h200", max_clock=1.98e9, power_limit=700.0, cuda="13.0")

#: Round figures, whose rates can be worked out by hand: 10 us on an H200 (4.8 TB/s, 989.5 TFLOP/s in bf16).
BY_HAND = Measurement(
    case=Planned(
        operator="mine",
        dims={"m": 1, "lens": [3, 4], "dtype": "bf16", "status": 7},
        label='with "quotes", a comma',
        tags=("decode", "tp8"),
        importance=0.25,
        where="a.toml:1",
        provider="triton",
        category="gemm",
    ),
    status="passed",
    notes=("one", "two"),
    work=Work(read=30_000_000, written=18_000_000, flop={"bf16": 989_500_000}),
    bound=Bound(seconds=1e-5, by="memory", regime="memory"),
    time=Estimate(median=20e-6, low=19e-6, high=22e-6, n=30, stopped_by="precise"),
    efficiency=0.5,
    mode="graph",
    cold=True,
    packages={"triton": "3.6.0"},
)


def made(folder: Path, *paths: Path) -> Path:
    out = folder / "out"
    list(write(collect(paths), out, "9.9"))
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_figures_of_a_row(tmp_path: Path) -> None:
    (row,) = rows(made(tmp_path, reported.write(tmp_path, HEAD, [BY_HAND])) / "all_kernels.csv")
    assert list(row) == list(COLUMNS)
    expected = {
        "kernel": "mine",
        "op": "mine",
        "category": "gemm",
        "label": 'with "quotes", a comma',
        "dims": "m=1 lens=3,4 dtype=bf16 status=7",
        "dtype": "bf16",
        "provider": "triton",
        "version": "triton 3.6.0",
        "time_us": "20.0",
        "time_low_us": "19.0",
        "time_high_us": "22.0",
        "samples": "30",
        "gflops": "49475.0",
        "gb_per_s": "2400.0",
        "peak_compute_pct": "5.0",
        "peak_bandwidth_pct": "50.0",
        "regime": "memory",
        "t_sol_us": "10.0",
        "efficiency_pct": "50.0",
        "counts": "True",
        "status": "passed",
        "notes": "one; two",
        "importance": "0.25",
        "tags": "decode tp8",
        "device": "h200",
        "gpu": "NVIDIA H200 SXM",
        "locked_clock_mhz": "1500.0",
        "max_clock_mhz": "1980.0",
        "power_limit_w": "700.0",
        "driver": "580.1",
        "cuda": "13.0",
        "mode": "graph",
        "where": "a.toml:1",
    }
    assert {name: row[name] for name in expected} == expected
    assert float(row["intensity_flop_per_byte"]) == pytest.approx(989.5 / 48)


def test_a_kernels_own_file_has_its_dimensions(tmp_path: Path) -> None:
    (row,) = rows(made(tmp_path, reported.write(tmp_path, HEAD, [BY_HAND])) / "kernels" / "mine.csv")
    assert (row["m"], row["lens"], row["dim_status"], row["dtype"]) == ("1", "3,4", "7", "bf16")
    assert row["status"] == "passed" and [name for name in row if name not in COLUMNS] == ["m", "lens", "dim_status"]


def test_a_skipped_case_keeps_its_reason_and_has_no_figures(tmp_path: Path) -> None:
    skipped = BY_HAND.replace(status="skipped", reason="no Hopper", time=None, efficiency=None, work=None, bound=None)
    (row,) = rows(made(tmp_path, reported.write(tmp_path, HEAD, [skipped])) / "all_kernels.csv")
    assert (row["status"], row["reason"], row["counts"]) == ("skipped", "no Hopper", "False")
    assert {row[name] for name in ("time_us", "gflops", "gb_per_s", "t_sol_us", "efficiency_pct", "intensity_flop_per_byte")} == {
        ""
    }


def test_every_case_is_in_the_whole_table_and_in_one_of_its_kernel(tmp_path: Path) -> None:
    """The published rows: 440 on xpu_a. The dims of each build the shape again, as `dsbench roofline` would read them."""
    out = made(tmp_path, reported.published(tmp_path))
    whole = rows(out / "all_kernels.csv")
    assert len(whole) == 440
    files = {path: rows(path) for path in (out / "kernels").iterdir()}
    assert sum(map(len, files.values())) == 440
    for path, found in files.items():
        assert {row["kernel"] for row in found} == {path.stem}
    for row in whole:
        cls = find(row["op"])
        op = cls.build(read_dims(cls, row["dims"].split(" ")))
        assert float(row["t_sol_us"]) * float(row["efficiency_pct"]) > 0
        work = op.work()
        assert float(row["gb_per_s"]) == pytest.approx(work.bytes / float(row["time_us"]) / 1e3, rel=1e-8)


def test_kernels_whose_names_are_no_file_names(tmp_path: Path) -> None:
    names = ["a/../b", "a_.._b", "A_.._B", "..", "x y"]
    found = [BY_HAND.replace(case=BY_HAND.case.replace(operator=name, label=name)) for name in names]
    out = made(tmp_path, reported.write(tmp_path, HEAD, found))
    assert {path.name for path in (out / "kernels").iterdir()} == {
        "a_.._b.csv",
        "a_.._b-2.csv",
        "A_.._B-3.csv",
        "kernel.csv",
        "x_y.csv",
    }
    assert not (out / "b.csv").exists()


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("two")
    cases = reported.bounded(HEAD)[::20]
    wrong = reported.record(cases[0], HEAD, status="failed", provider="narrow", reason="|o - r| = 1.23 | at [0]")
    first = reported.write(folder, HEAD, [*(reported.record(case, HEAD, 0.5) for case in cases), wrong])
    verdict = Verdict(case=wrong.case, outcome="regressed", then=1e-6, now=2e-6, change=0.69, allowed=0.015)
    late = reported.header("h200", "2026-11-05T01:00:00", driver="590.2")
    second = reported.write(folder, late, [reported.record(cases[1], late, 0.75), verdict])
    yield made(folder, first, second, reported.published(folder))


def test_results_json(two_devices: Path) -> None:
    found = json.loads((two_devices / "results.json").read_text())
    assert found["schema"] == 1 and found["version"] == "9.9"
    assert [one["key"] for one in found["devices"]] == ["h200", "xpu_a-imported"]
    assert found["devices"][0]["ridge"]["bf16"] == pytest.approx(989.5e12 / 4.8e12)
    assert {one["run"] for one in found["results"]} == set(found["runs"])
    assert [one["verdicts"] for one in found["runs"].values()] == [{}, {"regressed": 1}, {}]
    assert Counter(one["device"] for one in found["results"])["xpu_a-imported"] == 440
    scores = {one["selection"]: one for one in found["devices"][1]["scores"]}
    assert scores["published"]["operators"] == 30
    # Each row's own figures agree with each other.
    for one in found["results"]:
        if one["time"] is not None and one["read_bytes"] is not None:
            moved = one["read_bytes"] + one["written_bytes"]
            assert one["byte_rate"] == pytest.approx(moved / one["time"])
            assert one["efficiency"] == pytest.approx(one["t_sol"] / one["time"])
    assert {one["low"] for one in found["results"] if one["device"] == "xpu_a-imported"} == {None}


def test_the_document_reads_back(two_devices: Path) -> None:
    found = msgspec.json.decode((two_devices / "results.json").read_bytes(), type=Document)
    assert len(found.results) == len(rows(two_devices / "all_kernels.csv"))


def test_the_documented_columns_are_those_there_are() -> None:
    text = (ROOT / "docs" / "reports.md").read_text().split("## Columns")[1].split("## results.json")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(COLUMNS)


def schema() -> Any:
    return msgspec.json.schema(Document)


def test_the_documented_schema_is_the_one_in_use() -> None:
    """Whoever adds a field writes it again: `python tests/test_report_files.py`."""
    assert json.loads(SCHEMA.read_text()) == json.loads(msgspec.json.encode(schema()))


def test_an_older_results_json() -> None:
    """A file of schema 1 as it was first written; readers of it must not break."""
    found = json.loads((Path(__file__).parent / "data" / "results_v1.json").read_text())
    properties = schema()["$defs"]
    for name, one in (
        ("Row", found["results"][0]),
        ("RunEntry", next(iter(found["runs"].values()))),
        ("DeviceEntry", found["devices"][0]),
    ):
        assert set(one) <= set(properties[name]["properties"]), name


def test_parquet_has_the_same_rows(two_devices: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: it is optional")
    table = parquet.read_table(two_devices / "all_kernels.parquet")
    assert table.column_names == list(COLUMNS)
    whole = rows(two_devices / "all_kernels.csv")
    assert table.num_rows == len(whole)
    for name in ("time_us", "label", "counts", "efficiency_pct", "samples", "driver"):
        shown = ["" if value is None else str(value) for value in table.column(name).to_pylist()]
        assert shown == [row[name] for row in whole], name


def test_without_pyarrow_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_dsbench.report.files.tables.find_spec", lambda name: None)
    said = list(write(collect([reported.write(tmp_path, HEAD, [BY_HAND])]), tmp_path / "out", "9.9"))
    assert "no all_kernels.parquet: pyarrow is not installed" in said
    assert not (tmp_path / "out" / "all_kernels.parquet").exists()


def test_the_summary(two_devices: Path) -> None:
    text = (two_devices / "summary.md").read_text()
    assert "| h200 | NVIDIA H200 SXM | 4.80 TB/s | 141 GB | 67 (14.0) |" in text
    assert "| 989.5 (206) |" in text and "1,979 (412)" in text
    assert "## xpu_a-imported: XPU-A" in text and "times that were measured elsewhere" in text
    assert "- score, published: " in text
    assert "### Failing\n\n- **failed** " in text
    assert "### Gate: 20261105T010000Z-h200\n\n1 regressed" in text
    assert "driver 580.1 -> 590.2" in text
    (row,) = (line for line in text.splitlines() if "| regressed |" in line)
    assert "| 1.00 us | 2.00 us | +99.4 % |" in row and "narrow" in row
    kernels = {one.case.operator for one in collect([next(two_devices.parent.glob("20261101*h200.jsonl"))]).latest}
    assert f"{len(kernels)} of {len(kernels) + 1} kernels pass, 1 fails" in text
    for line in text.splitlines():
        if line.startswith("| "):
            assert line.endswith(" |")


def test_every_table_of_the_summary_is_whole(two_devices: Path) -> None:
    """A bar in a reason must not make a column of its own."""
    lines = (two_devices / "summary.md").read_text().splitlines()
    width = 0
    for line in lines:
        cells = len(line.replace("\\|", "").split("|"))
        if line.startswith("| :--"):
            assert cells == width
        width = cells if line.startswith("| ") else 0


def test_identity_of_rows_is_that_of_the_records(two_devices: Path) -> None:
    found = msgspec.json.decode((two_devices / "results.json").read_bytes(), type=Document)
    shapes = Counter(shape_of(one.op, one.dims) for one in found.results if one.device == "xpu_a-imported")
    assert max(shapes.values()) == 1


if __name__ == "__main__":
    SCHEMA.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=1) + b"\n")
