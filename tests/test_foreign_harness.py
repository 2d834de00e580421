"""dsbench import pytest-benchmark: JSON that pytest-benchmark itself wrote, of benches by hand and through our bridge."""

import json
import os
import subprocess
import sys
from statistics import median
from typing import Any

import pytest
from foreign import Desk, desk

from pytest_dsbench.stats import interval

__all__ = ["desk"]

SAMPLES = [2.0e-5, 2.1e-5, 1.9e-5, 2.2e-5, 2.05e-5, 1.95e-5, 2.15e-5, 2.3e-5]
#: One bench of somebody else's, and cases of ours handed over by the bridge.
BENCHES = f"""
import pytest
from pytest_dsbench.bridge import claim, feed
from pytest_dsbench.measurement import Measurement, Planned
from pytest_dsbench.roofline import Bound
from pytest_dsbench.stats import estimate
from pytest_dsbench.work import Work

SAMPLES = {SAMPLES}


@pytest.mark.parametrize("lib", ["blas"])
@pytest.mark.parametrize("rows", [4096, 64])
def test_foreign(benchmark, rows, lib):
    claim(benchmark)
    stats = benchmark._make_stats(1)
    for seconds in SAMPLES:
        stats.update(100 * seconds)


@pytest.mark.parametrize("rows", [object()])
def test_strange(benchmark, rows):
    claim(benchmark)
    benchmark._make_stats(1).update(1e-3)


def ours(benchmark, operator, dims, hardware, provider="mine", status="passed", cold=True, seconds=1e-6):
    case = Planned(operator=operator, dims=dims, label="a label", where="x.toml:1", provider=provider, bench="b.py::bench_x")
    result = Measurement(
        case=case,
        status=status,
        work=Work(read=4096, written=4096, flop={{"fp32": 10}}),
        bound=Bound(seconds=seconds, by="memory", regime="memory"),
        time=estimate(SAMPLES, "precise"),
        efficiency=seconds / 2e-5,
        mode="graph",
        cold=cold,
        hardware=hardware,
        packages={{"triton": "3.6"}},
    )
    claim(benchmark)
    feed(benchmark, SAMPLES, result)


def test_of_ours(benchmark):
    ours(benchmark, "rms_norm", {{"tokens": 2500, "hidden": 1024, "dtype": "bf16", "eps": 1e-06}}, "h200")


def test_by_hand(benchmark):
    ours(benchmark, "bench_by_hand", {{}}, "h200", provider="own")


def test_on_a_cpu(benchmark):
    ours(benchmark, "rms_norm", {{"tokens": 1, "hidden": 64}}, "cpu", seconds=1.7e-5)


def test_from_a_warm_cache(benchmark):
    ours(benchmark, "rms_norm", {{"tokens": 131072, "hidden": 8192}}, "h200", cold=False)


def test_too_fast(benchmark):
    ours(benchmark, "rms_norm", {{"tokens": 131072, "hidden": 8192}}, "h200")
"""


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest-benchmark writes of these benches."""
    folder = tmp_path_factory.mktemp("harness")
    (folder / "test_benches.py").write_text(BENCHES)
    command = [sys.executable, "-m", "pytest", "-p", "no:dsbench", "-q", "--benchmark-json=out.json", "-c", "/dev/null", "."]
    # pytest-benchmark measures nothing where it takes itself for a worker of pytest-xdist.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "out.json").read_text()


def only(written: str, *names: str, data: bool = True) -> str:
    """The file with these benchmarks alone, with or without their samples."""
    content: dict[str, Any] = json.loads(written)
    content["benchmarks"] = [one for one in content["benchmarks"] if any(name in one["name"] for name in names)]
    for one in content["benchmarks"]:
        if not data:
            del one["stats"]["data"]
    return json.dumps(content, indent=4)


def test_a_case_of_ours_is_restored(desk: Desk, written: str) -> None:
    desk.write("out.json", only(written, "test_of_ours"))
    done = desk.run("import", "pytest-benchmark", "out.json")
    assert done.code == 0, done.err
    (run,) = desk.runs()
    (record,) = run.measurements
    assert run.header is not None and run.header.hardware.name == "h200" and run.header.environment.gpu == "NVIDIA H200 SXM"
    assert (record.case.operator, record.case.provider, record.case.bench) == ("rms_norm", "mine", "b.py::bench_x")
    # a row of the package's own shape file, whose importance it bears; 4.8 TB/s
    assert record.case.provenance.id is not None and record.case.importance is not None
    assert record.bound is not None and record.time is not None
    assert record.bound.seconds == pytest.approx((2 * 2500 * 1024 + 1024) * 2 / 4.8e12)
    assert record.time.median == pytest.approx(median(SAMPLES)) and record.time.n == len(SAMPLES)
    assert (record.time.low, record.time.high) == pytest.approx(interval(SAMPLES))
    assert (record.cold, record.mode, record.packages, record.time.stopped_by) == (
        True,
        "imported",
        {"triton": "3.6"},
        "imported",
    )
    assert "timed by graph" in record.notes
    line = int(record.case.where.removeprefix("out.json:"))
    assert "test_of_ours" in (desk.path / "out.json").read_text().splitlines()[line - 1]


def test_when_it_was_measured_is_what_the_file_says(desk: Desk, written: str) -> None:
    content = json.loads(only(written, "test_of_ours"))
    content["datetime"] = "2025-03-04T14:00:00+02:00"
    desk.write("out.json", json.dumps(content))
    desk.run("import", "pytest-benchmark", "out.json")
    (run,) = desk.runs()
    assert run.header is not None and run.header.started == "2025-03-04T12:00:00"


def test_a_bench_by_hand_states_its_own_work(desk: Desk, written: str) -> None:
    desk.write("out.json", only(written, "test_by_hand"))
    desk.run("import", "pytest-benchmark", "out.json")
    (record,) = desk.records()
    assert (record.case.operator, record.case.label, record.case.category) == ("bench_by_hand", "a label", "other")
    assert record.bound is not None and record.bound.seconds == pytest.approx(8192 / 4.8e12)


def test_a_warm_cache_and_the_speed_of_light(desk: Desk, written: str) -> None:
    desk.write("out.json", only(written, "warm", "too_fast"))
    desk.run("import", "pytest-benchmark", "out.json")
    warm, cold = desk.records()
    # 4.3 GB in 20 us: from memory nobody can; from a warm cache only its 3.2 GFLOP count, and they take longer as well
    assert (warm.cold, cold.cold, cold.status) == (False, True, "invalid")
    flop = 131072 * (3 * 8192 + 1)
    assert warm.reason is not None and flop / 67e12 > 2e-5 and "48.1 us" in warm.reason


def test_a_run_on_a_cpu_needs_a_cpu(desk: Desk, written: str) -> None:
    desk.write("out.json", only(written, "on_a_cpu"))
    for words in ((), ("--hw", "h200")):
        done = desk.run("import", "pytest-benchmark", "out.json", *words)
        assert done.code == 1 and any("measured on a CPU" in line for line in done.out)


def test_a_foreign_bench_with_its_samples(desk: Desk, written: str) -> None:
    desk.write("out.json", only(written, "test_foreign"))
    mapping = ("--operator", "matmul", "--hw", "h20", "--map", "m=rows,provider=lib", "--set", "n=4096", "--set", "k=7168")
    done = desk.run("import", "pytest-benchmark", "out.json", *mapping, "--version", "3.1")
    assert done.code == 0, done.err
    first, second = desk.records()
    assert (first.case.dims, second.case.dims["m"]) == ({"m": 4096, "n": 4096, "k": 7168, "dtype": "bf16"}, 64)
    assert first.time is not None and first.time.n == len(SAMPLES)
    assert first.efficiency == pytest.approx(2 * 4096 * 4096 * 7168 / 148e12 / (100 * median(SAMPLES)))
    assert (first.case.provider, first.packages, first.cold) == ("blas", {"blas": "3.1"}, None)


def test_without_samples_there_is_no_interval(desk: Desk, written: str) -> None:
    desk.write("out.json", only(written, "test_foreign", data=False))
    mapping = ("--operator", "matmul", "--hw", "h20", "--map", "m=rows", "--set", "n=4096", "--set", "k=7168", "--ignore", "lib")
    desk.run("import", "pytest-benchmark", "out.json", *mapping, "--provider", "x")
    first, _ = desk.records()
    assert first.time is not None and first.time.n == 1 and first.time.low == first.time.high == first.time.median
    assert f"the median of {len(SAMPLES)} rounds, which are not in the file: no interval" in first.notes


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--provider", "x"), "which operator does it measure? --operator NAME says so"),
        (("--operator", "matmul", "--provider", "x"), "parameter 'rows' is no dimension of matmul"),
        (("--operator", "matmul", "--provider", "x", "--map", "m=row"), "--map m=row: unknown name 'row'; did you mean 'rows'?"),
        (("--operator", "matmul", "--provider", "x", "--map", "m=rows"), "parameter 'lib' is no dimension"),
        (("--operator", "matmul", "--map", "m=rows", "--ignore", "lib"), "who ran this? --provider NAME says so"),
        (("--operator", "matmul", "--map", "m=rows", "--ignore", "lib", "--provider", "x"), "dimension 'n' is missing"),
    ],
)
def test_what_a_foreign_bench_does_not_say(desk: Desk, written: str, words: tuple[str, ...], reason: str) -> None:
    desk.write("out.json", only(written, "test_foreign"))
    done = desk.run("import", "pytest-benchmark", "out.json", "--hw", "h20", *words)
    assert done.code == 1 and reason in "\n".join(done.out)


def test_a_parameter_that_could_not_be_written(desk: Desk, written: str) -> None:
    desk.write("out.json", only(written, "test_strange"))
    words = ("--operator", "matmul", "--map", "m=rows", "--set", "n=8", "--set", "k=8", "--provider", "x", "--hw", "h20")
    done = desk.run("import", "pytest-benchmark", "out.json", *words)
    assert done.code == 1 and "parameter 'rows' is 'UNSERIALIZABLE" in "\n".join(done.out)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "out.json:1: not JSON"),
        ('{\n "benchmarks": [,]\n}', "out.json:2: not JSON: Expecting value in column 17"),
        ("[" * 100_000, "out.json:1: not JSON that can be read"),
        ("[1]", "out.json: not of pytest-benchmark: no list of benchmarks"),
        ('{"benchmarks": 3}', "out.json: not of pytest-benchmark"),
        ('{"benchmarks": []}', "out.json: its list of benchmarks is empty"),
    ],
)
def test_files_that_are_none(desk: Desk, text: str, sentence: str) -> None:
    desk.write("out.json", text)
    done = desk.run("import", "pytest-benchmark", "out.json", "--hw", "h20")
    assert done.code == 2 and sentence in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (3, "has no stats"),
        ({"name": "a"}, "a: has no stats"),
        ({"name": "a", "stats": {"median": 0.0, "rounds": 3}}, "a: 0.0 is no time"),
        ({"name": "a", "stats": {"median": 1.0, "data": [1.0, -1.0]}}, "a: -1.0 is no time"),
        ({"name": "a", "stats": {"data": [1.0, "x"]}}, "a: 'x' is no time"),
        ({"name": "a", "stats": {"median": float("nan"), "ops": float("inf")}}, "a: nan is no time"),
        ({"name": "a", "stats": {"median": 1.0}, "extra_info": {"t_sol_s": 1.0}}, "a: a bench of ours by a version that"),
        ({"name": "a", "stats": {"median": 1.0}, "extra_info": {"t_sol_s": 1.0, "dims": 3}}, "a: its extra_info is not as"),
        ({"name": "a", "stats": {"median": 1.0}, "params": {"m": None}}, "a: parameter 'm' is None"),
    ],
)
def test_broken_benchmarks(desk: Desk, entry: object, reason: str) -> None:
    desk.write("out.json", json.dumps({"benchmarks": [entry]}))
    done = desk.run("import", "pytest-benchmark", "out.json", "--hw", "h20", "--operator", "matmul", "--provider", "x")
    assert done.code == 1 and any(line.startswith("  out.json:1: ") and reason in line for line in done.out), done.out


def test_a_file_that_is_not_there(desk: Desk) -> None:
    done = desk.run("import", "pytest-benchmark", "no.json")
    assert (done.code, done.err) == (2, "dsbench: no.json: cannot be read: No such file or directory\n")
    assert not (desk.path / "runs").exists()
