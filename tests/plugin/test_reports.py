"""What a run leaves behind for people and machines: the summary, junit, the run file."""

import json
import xml.etree.ElementTree as ElementTree

from project import Project

OFF = '@Doubled.provider("off", devices=("cpu",))\ndef off(op, x):\n    return lambda: x * 3'


def test_junit_has_the_failures_and_our_records(project: Project) -> None:
    assert project.doubled(OFF).check("--junitxml=out.xml").counts == {"failed": 3, "passed": 3}
    (suite,) = ElementTree.parse(project.path / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "3", "0")
    for case in suite:
        (failure,) = case.findall("failure") or [None]
        names = [one.get("name") for one in case.iter("property")]
        assert names == ["dsbench"]
        (value,) = (one.get("value") or "" for one in case.iter("property"))
        record = json.loads(value)
        assert case.get("name") == f"bench_doubled[{record['case']['label']}-{record['case']['provider']}]"
        assert (failure is not None) == (record["status"] == "failed")
        if failure is not None:
            assert "provider 'off' output 'out' is wrong" in (failure.get("message") or "")


def test_a_provider_that_is_not_installed_is_shown_once(project: Project) -> None:
    more = '@Doubled.provider("fast", devices=("cpu",), needs="a-kernel-library")\ndef fast(op, x):\n    import a_kernel_library'
    found = project.doubled(more).check("-v", "-rs")
    assert (found.code, found.counts) == (0, {"passed": 3})
    assert [line for line in found.lines if "fast" in line] == ["skipped: fast: needs a-kernel-library, not installed here"]


def test_skipped_cases_are_counted_by_their_reason(project: Project) -> None:
    project.doubled(shapes='operator = "doubled"\ncase = [{ rows = [16, 64, 100000000] }, { rows = 90000000 }]\n')
    found = project.check("--dsbench-budget=100s,1GiB")
    assert found.counts == {"passed": 2, "skipped": 2}
    assert "   2 cases skipped: memory over the budget of 1.00 GiB" in found.lines
    assert [one.status for one in project.records()] == ["checked", "checked", "skipped", "skipped"]


def test_the_budget_is_what_was_asked_for(project: Project) -> None:
    found = project.doubled().check("--dsbench-budget=1TiB,0.1ns")
    assert found.counts == {"skipped": 3}
    reasons = [one.reason or "" for one in project.records()]
    assert all(reason.startswith("T_SOL ") and reason.endswith(" over the budget of 1e-10 s") for reason in reasons), reasons


def test_each_case_has_a_line_of_its_own_when_asked_for(project: Project) -> None:
    quiet = project.doubled().check()
    assert not [line for line in quiet.lines if line.startswith("doubled[")]
    loud = project.check("-v")
    assert [line.split()[:3] for line in loud.lines if line.startswith("doubled[")] == [
        [f"doubled[{case}]", "good", "checked"] for case in ("rows16", "rows64", "rows256")
    ]


def test_a_thousand_cases_stay_readable(project: Project) -> None:
    project.doubled(shapes=f'operator = "doubled"\ncase = [{{ rows = {list(range(1, 1001))} }}]\n')
    found = project.check("--dsbench-budget=0.0001ns")
    assert found.counts == {"skipped": 1000}
    assert len(found.lines) < 60
    assert "1000 cases skipped: T_SOL over the budget of 1e-13 s" in found.lines


def test_the_run_file_begins_with_the_run_and_ends_with_its_end(project: Project) -> None:
    project.doubled(OFF).check()
    (path,) = (project.path / "runs").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["run", *["case"] * 6, "end"]
    assert {line["v"] for line in lines} == {4}
    assert lines[0]["hardware"]["name"] == "cpu" and lines[0]["environment"]["torch"]
    assert lines[-1] == {"kind": "end", "v": 4, "planned": 6, "produced": 6, "not_run": []}


def test_plain_text_where_nobody_looks(project: Project) -> None:
    assert "\x1b" not in project.doubled(OFF).check().text


def test_no_bench_leaves_nothing_behind(project: Project) -> None:
    project.file("test_one.py", "def test_one():\n    pass\n")
    found = project.run()
    assert found.counts == {"passed": 1}
    assert "dsbench" not in [word for line in found.lines[4:] for word in line.split()]
    assert not (project.path / "runs").exists()
