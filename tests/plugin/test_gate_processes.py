"""The gate where processes matter: pytest-xdist, a sudden end, and a duet of old and new in fresh processes."""

import xml.etree.ElementTree as ElementTree

import pytest
from facts import Gated, every
from project import Project
from test_gate_sources import commit

from pytest_dsbench.gate import confirming

SECOND = '@Doubled.provider("second", devices=("cpu",))\ndef second(op, x):\n    return lambda: {what}'
#: So small that torch uses one thread: on a busy machine, several wait for each other.
ONE = 'operator = "doubled"\ncase = [{ rows = 100, columns = 256 }]\n'


def test_a_worker_measures_and_the_controller_judges(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = 'operator = "doubled"\ncase = [{ rows = [16, 64, 128, 256] }]\n'
    gated = Gated(project.doubled(SECOND.replace("{what}", "x * 2"), shapes), monkeypatch).baseline()
    # One case is slower, one ends its process, and one is gone with both its providers.
    gated.conftest(rows64=1.1)
    project.doubled(
        SECOND.replace("{what}", "x * 2 if op.rows < 256 else __import__('os')._exit(7)"), shapes.replace("128, ", "")
    )
    gated.clear()
    found = project.spawn("-n", "1", "--dsbench-compare", "--benchmark-quiet", "--junitxml=out.xml")
    found.plain()
    assert (found.code, found.counts) == (1, {"failed": 2, "passed": 4})
    seconds = {f"{label}-second": "same" for label in ("rows16", "rows64")}
    missing = {f"rows128-{provider}": "missing" for provider in ("good", "second")}
    expected = {**every("same"), **seconds, **missing, "rows64-good": "regressed", "rows256-second": "crashed"}
    assert gated.verdicts() == expected
    run = project.read()
    assert [line.split()[3:5] for line in found.lines if line.startswith("doubled   second ")] == [["2", "1"]], "passed, failed"
    assert [one.case.name for one in run.confirmations] == ["doubled[rows64] good"]
    assert [one.case.name for one in run.measurements if one.status == "crashed"] == ["doubled[rows256] second"]
    assert run.end is not None and (run.end.planned, run.end.produced, run.end.not_run) == (6, 6, ())
    assert "8 cases: 1 regressed, 1 crashed, 2 missing, 4 same" in found.lines
    (suite,) = ElementTree.parse(project.path / "out.xml").getroot()
    wrong = {case.get("name"): kind for case in suite for kind in ("failure", "error") if case.find(kind) is not None}
    # A process that ended is an error to pytest-xdist.
    assert wrong == {"bench_doubled[rows64-good]": "failure", "bench_doubled[rows256-second]": "error"}


def test_the_end_of_the_process_in_the_very_first_case(project: Project) -> None:
    bench = project.doubled().path / "bench_doubled.py"
    bench.write_text(bench.read_text().replace("return lambda: x * 2", "__import__('os')._exit(7)"))
    assert project.spawn("--dsbench-compare").code == 7
    run = project.complete()
    assert run.header is not None and (run.header.hardware.name, run.header.coverage.paths) == ("cpu", ("",))
    assert [one.status for one in run.measurements] == ["crashed", "not_run", "not_run"]


def test_old_and_new_side_by_side(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    confirm = confirming.Again.confirm
    gated = Gated(project.doubled(shapes=ONE), monkeypatch)
    project.file("pytest.ini", "[pytest]\ndsbench_gate = pairs = 2\n")
    assert gated.run("--dsbench-save").code == 0
    commit(project.path)
    # In this process it seems to take twice as long; what the duet finds is what it really is.
    bench = project.path / "bench_doubled.py"
    bench.write_text(bench.read_text().replace("lambda: x * 2", "lambda: [x * 2 for _ in range(3)][-1]"))
    gated.facts.takes["rows100-good"] = 2.0
    monkeypatch.setattr(confirming.Again, "confirm", confirm)
    found = gated.run("--dsbench-compare", "--dsbench-old=HEAD")
    assert (found.code, found.counts) == (1, {"failed": 1})
    (verdict,) = project.read().verdicts
    assert (verdict.outcome, verdict.confirmed_by) == ("regressed", "duet")
    assert verdict.change is not None and 0.3 < verdict.change < 2, "what is timed thrice takes up to ln 3 = 1.1 longer"
    (confirmation,) = project.read().confirmations
    assert (confirmation.how, len(confirmation.deltas)) == ("duet", 2)
    place = "shapes/doubled.toml:2: doubled[rows100-columns256] good regressed against baselines/cpu: efficiency "
    (line,) = [line for line in found.lines if line.startswith(place)]
    assert "; 2 pairs of old and new side by side; " in line
