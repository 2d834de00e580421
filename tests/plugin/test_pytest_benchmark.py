"""Our samples reach pytest-benchmark: its table, its files, its command."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import Project

SHAPES = 'operator = "doubled"\ncase = [{ rows = [16, 64] }]\n'


def test_without_timing_each_case_is_checked_once(project: Project) -> None:
    project.doubled(
        """
        calls = []


        @Doubled.provider("counts", devices=("cpu",))
        def counts(op, x):
            def launch():
                calls.append(op.rows)
                return x * 2
            return launch


        def test_calls():
            # one watched call, and one for each of the two contents
            assert calls == [16] * 3 + [64] * 3
        """,
        SHAPES,
    )
    bench = project.path / "bench_doubled.py"
    # The test comes last: items run in the order of the file.
    text = bench.read_text()
    at = text.index("def test_calls")
    end = text.index("bench_doubled = ")
    bench.write_text(text[:at] + text[end:] + "\n\n" + text[at:end])
    found = project.check()
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 5})
    assert {(one.status, one.time, one.efficiency) for one in project.records()} == {("checked", None, None)}


def entries(path: Path) -> list[dict[str, Any]]:
    """The benchmarks of a file of pytest-benchmark's."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["benchmarks"]
    return found


def test_its_json_has_our_samples_and_what_it_cannot_know(project: Project) -> None:
    found = project.doubled(shapes=SHAPES).run("--benchmark-json=out.json")
    found.plain()
    assert found.counts == {"passed": 2}
    data = json.loads((project.path / "out.json").read_text())
    assert data["machine_info"]["dsbench"]["hardware"] == "cpu"
    first, second = data["benchmarks"]
    assert (first["name"], first["group"]) == ("bench_doubled[rows16-good]", "doubled")
    for entry, record in zip((first, second), project.records(), strict=True):
        assert record.time is not None and record.bound is not None
        assert (entry["stats"]["median"], entry["stats"]["rounds"]) == (pytest.approx(record.time.median), record.time.n)
        assert len(entry["stats"]["data"]) == record.time.n
        extra = entry["extra_info"]
        assert (extra["provider"], extra["hardware"], extra["status"]) == ("good", "cpu", "passed")
        assert extra["t_sol_s"] == pytest.approx(record.bound.seconds)
        assert extra["efficiency"] == pytest.approx(record.bound.seconds / record.time.median)


def test_a_case_that_failed_is_not_in_its_json(project: Project) -> None:
    project.doubled('@Doubled.provider("off", devices=("cpu",))\ndef off(op, x):\n    return lambda: x * 3', SHAPES)
    assert project.run("--benchmark-json=out.json").counts == {"failed": 2, "passed": 2}
    assert [one["param"] for one in entries(project.path / "out.json")] == ["rows16-good", "rows64-good"]


def test_its_table_shows_our_cases(project: Project) -> None:
    found = project.doubled(shapes=SHAPES).run()
    (line,) = [line for line in found.lines if line.startswith("bench_doubled[rows16-good]")]
    assert any("benchmark 'doubled': 2 tests" in line for line in found.lines)
    assert "(1.0)" in line


def test_two_saved_runs_can_be_compared(project: Project) -> None:
    project.doubled(shapes=SHAPES)
    for _ in range(2):
        project.run("--benchmark-autosave").plain()
    saved = sorted((project.path / ".benchmarks").rglob("*.json"))
    assert [path.name[:5] for path in saved] == ["0001_", "0002_"]
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "0001", "0002", "--columns=median", "--group-by=param"]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for case in ("rows16-good", "rows64-good"):
        assert sum(line.startswith(f"bench_doubled[{case}]") for line in done.stdout.splitlines()) == 2, done.stdout


def test_without_pytest_benchmark(project: Project) -> None:
    found = project.doubled(shapes=SHAPES).spawn("-p", "no:benchmark")
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 2})
    assert all(one.time is not None for one in project.records())


def test_skipped_by_pytest_benchmark(project: Project) -> None:
    found = project.doubled(shapes=SHAPES).run("--benchmark-skip")
    found.plain()
    assert (found.code, found.counts) == (0, {"skipped": 2})
