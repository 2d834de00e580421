"""--dsbench-report: tables, pictures and a page at the end of a run; and the command that makes them of run files."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from project import Project

from pytest_dsbench.__main__ import main


def test_the_report_of_a_run(project: Project) -> None:
    """In a process of its own: in this one, numpy cannot be unloaded and loaded again."""
    found = project.doubled().spawn("--dsbench-report=out/night")
    assert found.counts == {"passed": 3}, found.lines
    out = project.path / "out" / "night"
    results = json.loads((out / "results.json").read_text())
    assert [one["label"] for one in results["results"]] == ["rows16", "rows64", "rows256"]
    assert (out / "kernels" / "doubled.csv").is_file() and (out / "summary.md").is_file()
    assert any(line.startswith("report: all_kernels.csv, ") for line in found.lines), found.lines
    if find_spec("matplotlib"):
        assert (out / "pictures" / "roofline-cpu.png").is_file()
    if find_spec("bokeh") and find_spec("jinja2"):
        assert f"report: page: {out / 'index.html'}" in found.lines


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dsbench-report=bench_doubled.py"], "--dsbench-report={path}/bench_doubled.py: a file; expected a folder"),
        (["--dsbench-report="], "--dsbench-report= names no folder; expected one, such as --dsbench-report=report"),
        (["--dsbench-report", "."], "--dsbench-report={path} would write the report among Python files"),
        (["--dsbench-report=out", "--dsbench-plan"], "--dsbench-report tells of a run, and --dsbench-plan runs nothing"),
    ],
)
def test_mistakes_before_the_run(project: Project, options: list[str], sentence: str) -> None:
    found = project.doubled().check(*options)
    assert found.code == 4
    assert any(sentence.format(path=project.path) in line for line in found.lines), found.lines


def test_a_folder_that_cannot_be_written_ends_no_run(project: Project) -> None:
    project.file("taken/results.json/x", "a folder where a file belongs")
    found = project.doubled().check("--dsbench-report=taken")
    assert found.counts == {"passed": 3} and found.code == 0
    assert any(line.startswith("--dsbench-report: cannot write the report to ") for line in found.lines), found.lines
    assert len(project.records()) == 3


def test_an_interrupted_run_says_how_to_get_its_report(project: Project) -> None:
    project.doubled('@Doubled.provider("stop", devices=("cpu",))\ndef stop(op, x):\n    raise KeyboardInterrupt')
    found = project.spawn("--benchmark-disable", "--dsbench-report=out")
    (line,) = (line for line in found.lines if line.startswith("--dsbench-report: not made"))
    (run,) = (project.path / "runs").glob("*.jsonl")
    assert line == f"--dsbench-report: not made, since the run was interrupted; dsbench report runs/{run.name} makes it"
    assert not (project.path / "out").exists()


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["report", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_report_takes_the_place_of_an_older_one(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_dsbench.report.bundle._missing", lambda *names: f"{names[0]} not installed")
    project.doubled().check()
    out = project.path / "report"
    stale, foreign = out / "kernels" / "old.csv", out / "kernels" / "mine.txt"
    for path in (stale, foreign):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    runs = str(project.path / "runs")
    code, said, _ = command(capsys, runs, "--out", str(out))
    assert code == 0 and stale.exists(), "a folder that is no report of ours is not cleared"
    assert "no pictures: matplotlib not installed" in said and "no index.html: jinja2 not installed" in said
    assert command(capsys, runs, "--out", str(out))[0] == 0
    assert not stale.exists() and foreign.exists()


def test_mistakes_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, str(tmp_path / "none.jsonl")) == (2, "", f"dsbench: {tmp_path}/none.jsonl: no such run file\n")
    (tmp_path / "empty.jsonl").touch()
    code, _, said = command(capsys, str(tmp_path / "empty.jsonl"))
    assert code == 2 and "nothing to report" in said
    file = tmp_path / "file"
    file.touch()
    code, _, said = command(capsys, str(tmp_path), "--out", str(file))
    assert (code, said) == (2, f"dsbench: --out {file}: a file; expected a folder, which is made where there is none\n")
