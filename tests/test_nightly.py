"""docs/ci: the script of one night, run on this CPU, and the workflow that calls it."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

CI = Path(__file__).parent.parent / "docs" / "ci"
SCRIPT = CI / "nightly.sh"
BENCH = """
from pytest_dsbench import Work


def bench_twice(dsbench):
    dsbench(
        inputs=lambda new: {"x": new.normal((64, 64), "fp32")},
        launch=lambda x: x * 2,
        reference=lambda x: x.double() * 2,
        work=Work(read=4 * 64 * 64, written=4 * 64 * 64, flop={"fp32": 64 * 64}),
    )
"""
#: However busy this machine is, its samples count.
CONFTEST = "from pytest_dsbench.clock import cpu\n\ncpu._ON_CORE, cpu._OTHERS = 0.0, 1e9\n"
#: Stands for Python where only what the script makes of it matters.
STAND_IN = """#!/bin/sh
echo "$@" >>called
mkdir -p runs && echo run >runs/night.jsonl
[ "$CODE" = 4 ] || echo "## a summary" >nightly/summary.md
[ "$MOVES" = 1 ] && mkdir -p baselines && echo night >>baselines/one.jsonl
exit $CODE
"""


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def night(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """One call of the script in a folder, with nothing of GitHub's that this process may have."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "PYTEST_"))}
    # As on a fresh runner, git knows nobody's name.
    variables = {"PYTHON": sys.executable, "GIT_CONFIG_GLOBAL": os.devnull, **variables}
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository on branch main with a stand-in for Python, and where it pushes to."""
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "origin.git")
    folder = tmp_path / "work"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    (folder / "stand_in").write_text(STAND_IN)
    (folder / "stand_in").chmod(0o755)
    git(folder, "remote", "add", "origin", "../origin.git")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    git(folder, "push", "-q", "origin", "main")
    return folder


def called(folder: Path) -> list[str]:
    """The arguments pytest was given, of the one call."""
    (line,) = (folder / "called").read_text().splitlines()
    return line.split()


def test_a_good_night_and_a_bad_one(tmp_path: Path) -> None:
    for name, text in {"benches/bench_twice.py": BENCH, "conftest.py": CONFTEST, "pytest.ini": "[pytest]\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "-q", "-b", "main")
    variables = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "CUDA_VISIBLE_DEVICES": "",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "page.md"),
        "SELF_CHECK": "0%",
    }
    good = night(tmp_path, "-p", "no:hypothesispytest", **variables)
    assert good.returncode == 0, good.stdout + good.stderr
    assert sorted(path.suffix for path in (tmp_path / "nightly").iterdir()) == ["", ".jsonl", ".md", ".xml"]
    assert (tmp_path / "nightly/report/all_kernels.csv").read_text().count("\n") == 2
    (run,) = (tmp_path / "nightly").glob("*.jsonl")
    assert run.read_bytes() == (tmp_path / "runs" / run.name).read_bytes()
    assert (tmp_path / "page.md").read_text().startswith("## dsbench: nothing regressed\n")
    stored = (tmp_path / "baselines/cpu/twice.jsonl").read_bytes()

    (tmp_path / "benches/bench_twice.py").write_text(BENCH.replace("launch=lambda x: x * 2", "launch=lambda x: x * 3"))
    bad = night(tmp_path, "-p", "no:hypothesispytest", GITHUB_ACTIONS="true", **variables)
    assert bad.returncode == 1, bad.stdout + bad.stderr
    assert "::error title=dsbench::a case got slower, is wrong, is missing or crashed; see the summary" in bad.stdout
    summary = (tmp_path / "nightly/summary.md").read_text()
    assert summary.startswith("## dsbench: 1 failed\n") and "output 'out' is wrong" in summary
    assert (tmp_path / "page.md").read_text().endswith(summary), "the page has both nights"
    (suite,) = ElementTree.parse(tmp_path / "nightly/junit.xml").getroot()
    assert suite.get("failures") == "1"
    assert [path.name for path in (tmp_path / "nightly").glob("*.jsonl")] != [run.name], "the run file of this night alone"
    assert (tmp_path / "baselines/cpu/twice.jsonl").read_bytes() == stored


@pytest.mark.parametrize(
    ("code", "variables", "ends", "said"),
    [
        ("0", {}, 0, ""),
        ("1", {}, 1, "error: a case got slower, is wrong, is missing or crashed; see the summary"),
        ("3", {}, 3, "warning: the machine was not fit to judge; see the summary"),
        ("3", {"UNFIT_EXIT": "0"}, 0, "warning: the machine was not fit to judge; see the summary"),
        ("3", {"GITHUB_ACTIONS": "true"}, 3, "::warning title=dsbench::the machine was not fit to judge; see the summary"),
        ("4", {"UNFIT_EXIT": "0"}, 4, "error: no verdict: pytest ended with code 4"),
        ("2", {}, 2, "error: no verdict: pytest ended with code 2"),
    ],
)
def test_exit_codes(repository: Path, code: str, variables: dict[str, str], ends: int, said: str) -> None:
    found = night(repository, PYTHON="./stand_in", CODE=code, GITHUB_STEP_SUMMARY="page.md", **variables)
    assert (found.returncode, found.stdout.strip(), found.stderr) == (ends, said, "")
    assert (repository / "nightly/night.jsonl").read_text() == "run\n"
    page = "## dsbench: no results; pytest ended with code 4\n" if code == "4" else "## a summary\n"
    assert (repository / "page.md").read_text() == page


def test_what_pytest_is_given(repository: Path) -> None:
    night(repository, "-k", "rms", PYTHON="./stand_in", CODE="0", REASON="driver 580")
    always = ["--dsbench-self-check=1%", "--dsbench-summary=nightly/summary.md", "--dsbench-report=nightly/report"]
    always.append("--junitxml=nightly/junit.xml")
    start = ["-m", "pytest", "benches/", "-k", "rms"]
    assert called(repository) == [*start, "--dsbench-compare", *always, "--dsbench-save=driver", "580"]


def test_a_branch_is_compared_and_not_saved(repository: Path) -> None:
    git(repository, "switch", "-q", "-c", "topic")
    variables = {"COMPARE": "origin/main", "OLD": "origin/main", "BENCHES": "mine", "PUSH_BASELINES": "1", "MOVES": "1"}
    assert night(repository, PYTHON="./stand_in", CODE="0", **variables).returncode == 0
    words = called(repository)
    assert words[2:4] == ["mine", "--dsbench-compare=origin/main"] and words[-1] == "--dsbench-old=origin/main"
    assert not [word for word in words if word.startswith("--dsbench-save")]
    assert git(repository, "log", "--format=%s", "--all") == "first"


@pytest.mark.parametrize(("code", "pushed"), [("0", True), ("1", True), ("3", True), ("2", False)])
def test_baselines_are_pushed(repository: Path, code: str, pushed: bool) -> None:
    (repository / "other").write_text("not a baseline")
    found = night(repository, PYTHON="./stand_in", CODE=code, MOVES="1", PUSH_BASELINES="1")
    assert found.returncode == int(code), found.stderr
    files = git(repository, "ls-tree", "-r", "--name-only", "origin/main")
    assert files == ("baselines/one.jsonl" if pushed else "")
    assert git(repository, "ls-tree", "-r", "--name-only", "HEAD") == files


def test_somebody_else_pushed_meanwhile(repository: Path) -> None:
    other = repository.parent / "other"
    git(repository.parent, "clone", "-q", "origin.git", "other")
    (other / "code").write_text("new")
    git(other, "add", "code")
    git(other, "commit", "-q", "-m", "theirs")
    git(other, "push", "-q", "origin", "HEAD:main")
    found = night(repository, PYTHON="./stand_in", CODE="0", MOVES="1", PUSH_BASELINES="1")
    assert found.returncode == 0, found.stderr
    assert git(repository, "log", "--format=%s", "origin/main").splitlines()[1:] == ["theirs", "first"]


def test_baselines_that_cannot_be_pushed(repository: Path) -> None:
    git(repository, "remote", "set-url", "origin", "../nowhere.git")
    found = night(repository, PYTHON="./stand_in", CODE="0", MOVES="1", PUSH_BASELINES="1")
    assert found.returncode == 2
    assert "error: the baselines could not be pushed" in found.stdout


def test_nothing_is_pushed_where_nobody_asked(repository: Path) -> None:
    assert night(repository, PYTHON="./stand_in", CODE="0", MOVES="1").returncode == 0
    assert git(repository, "status", "--porcelain", "baselines") == "?? baselines/"


def workflow() -> dict[Any, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; it is in the extra dev")
    loaded: dict[Any, Any] = yaml.safe_load((CI / "nightly.yml").read_text())
    return loaded


def test_the_workflow_calls_what_is_there() -> None:
    jobs = workflow()["jobs"]
    assert set(jobs) == {"nightly", "pull-request"}
    known = set(re.findall(r"^#   ([A-Z_]+)  ", SCRIPT.read_text(), re.MULTILINE))
    for job in jobs.values():
        (step,) = [step for step in job["steps"] if ".sh" in step.get("run", "")]
        script = CI.parent.parent / step["run"]
        assert script == SCRIPT and os.access(script, os.X_OK)
        assert set(step["env"]) <= known, "a variable that the script does not read"
        (upload,) = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
        assert (upload["if"], upload["with"]["path"]) == ("always()", "nightly/")
        checkout = job["steps"][0]
        assert checkout["with"]["fetch-depth"] == 0, "git revisions to compare with, and to push onto"
    against = [job["steps"][-2]["env"].get("COMPARE") for job in jobs.values()]
    assert against == [None, "origin/main"]


def test_two_jobs_never_time_on_one_gpu() -> None:
    jobs = workflow()["jobs"].values()
    assert {tuple(job["concurrency"].items()) for job in jobs} == {(("group", "dsbench-gpu"), ("cancel-in-progress", False))}


def test_the_workflow_is_for_nights_and_pull_requests() -> None:
    found = workflow()
    # YAML takes the word "on" for true.
    assert set(found[True]) == {"schedule", "workflow_dispatch", "pull_request"}
    assert found["permissions"] == {"contents": "read"}
    fork = "github.event.pull_request.head.repo.full_name == github.repository"
    assert fork in found["jobs"]["pull-request"]["if"]


def test_the_scripts_are_shell() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
