"""What --dsbench-compare is given, and mistakes in the options of the gate: one sentence each, and nothing overwritten."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from facts import BASELINE, Gated, every
from project import Outcome, Project


@pytest.fixture
def gated(project: Project, monkeypatch: pytest.MonkeyPatch) -> Gated:
    return Gated(project.doubled(), monkeypatch)


def refused(found: Outcome, sentence: str) -> None:
    """It said this and ran nothing."""
    found.says(f"ERROR: {sentence}")
    assert (found.code, found.counts) == (4, {})


def commit(folder: Path) -> None:
    """Everything in a folder, committed to a new repository."""
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)


def test_against_a_run(gated: Gated) -> None:
    assert gated.run().code == 0
    (before,) = (gated.path / "runs").glob("*.jsonl")
    shutil.move(before, gated.path / "before.jsonl")
    found = gated.run("--dsbench-compare=before.jsonl")
    assert (found.code, gated.verdicts()) == (0, every("unstable")), "one night says little of what is usual"
    assert "held against before.jsonl" in [line.replace(f"{gated.path}/", "") for line in found.lines]
    gated.facts.takes["rows64-good"] = 1.3
    assert gated.run("--dsbench-compare=before.jsonl").code == 1
    assert gated.verdicts() == {**every("unstable"), "rows64-good": "regressed"}


def test_against_a_baseline_file_or_folder(gated: Gated) -> None:
    gated.baseline().facts.takes["rows64-good"] = 1.1
    shutil.copytree(gated.path / "baselines", gated.path / "golden")
    shutil.rmtree(gated.path / "baselines")
    assert gated.compare().code == 0, "there is nothing stored"
    for place in ("golden/cpu/doubled.jsonl", "golden", str(gated.path / "golden/cpu")):
        assert (gated.run(f"--dsbench-compare={place}").code, gated.verdicts()["rows64-good"]) == (1, "regressed")


def test_against_a_git_revision(gated: Gated) -> None:
    commit(gated.baseline().path)
    shutil.rmtree(gated.path / "baselines")
    found = gated.run("--dsbench-compare=HEAD")
    assert (found.code, gated.verdicts()) == (0, every("same"))
    assert "held against baselines/cpu of HEAD" in found.lines
    gated.facts.takes["rows64-good"] = 1.1
    found = gated.run("--dsbench-compare=main", "--dsbench-save=a reason")
    assert (found.code, gated.verdicts()["rows64-good"]) == (0, "regressed")
    assert len(gated.stored(64)["window"]) == 1, "what is saved goes into the stored baseline, which had nothing"


def test_a_revision_that_is_not_there(gated: Gated) -> None:
    commit(gated.baseline().path)
    refused(
        gated.run("--dsbench-compare=maim"),
        "--dsbench-compare=maim: unknown git revision 'maim'; did you mean 'main'? known: main; no file of this name either",
    )
    found = gated.run("--dsbench-compare", "--dsbench-old=maim")
    refused(
        found,
        "--dsbench-old: unknown git revision 'maim'; did you mean 'main'? known: main;"
        " --dsbench-old=maim names an interpreter by its path, or a git revision",
    )


def test_something_that_is_not_there(gated: Gated) -> None:
    found = gated.run("--dsbench-compare=nowhere")
    assert (found.code, found.counts) == (4, {})
    (line,) = [line for line in found.lines if line.startswith("ERROR: --dsbench-compare=nowhere: ")]
    assert "is not in a git repository" in line and line.endswith("; no file of this name either")


def test_a_baseline_of_other_hardware(gated: Gated) -> None:
    gated.baseline()
    (gated.path / "baselines/cpu").rename(gated.path / "baselines/h200")
    sentence = "a baseline of h200; this run is on cpu, and times do not carry over"
    place = "baselines/h200/doubled.jsonl"
    refused(gated.run(f"--dsbench-compare={place}"), f"--dsbench-compare={place}: {sentence}")
    found = gated.run("--dsbench-compare=baselines")
    assert found.code == 4
    (line,) = [line for line in found.lines if line.startswith("ERROR: ")]
    assert line.endswith("baselines: no baseline of cpu in this folder; it has h200")


def test_a_broken_line_is_named_and_the_rest_is_used(gated: Gated) -> None:
    file = gated.baseline().path / BASELINE
    lines = file.read_text().splitlines()
    number = next(number for number, line in enumerate(lines) if '"label":"rows64"' in line)
    lines[number] = lines[number][:100]
    file.write_text("\n".join(lines) + "\n")
    before = file.read_bytes()
    found = gated.compare("--dsbench-save")
    assert gated.verdicts() == {**every("same"), "rows64-good": "new"}
    (said,) = {line.split(": ")[0] for line in found.lines if "doubled.jsonl:" in line and line.startswith("/")} or {None}
    assert said is not None and said.endswith(f"baselines/cpu/doubled.jsonl:{number + 1}")
    assert file.read_bytes() == before
    assert any(line.endswith("the file is left as it is") for line in found.lines)


@pytest.mark.parametrize("option", ["--dsbench-compare", "--dsbench-save"])
@pytest.mark.parametrize("swallowed", ["bench_doubled.py", "bench_doubled.py::bench_doubled", "benches/"])
def test_a_bare_option_that_swallowed_the_path(gated: Gated, option: str, swallowed: str) -> None:
    (gated.path / "benches").mkdir()
    found = gated.run(option, swallowed)
    assert (found.code, found.counts) == (4, {})
    (line,) = [line for line in found.lines if line.startswith("ERROR: ")]
    assert line.startswith((f"ERROR: {option}={swallowed.rstrip('/')}", f"ERROR: {option}={gated.path}"))
    assert "last" in line
    assert not (gated.path / "baselines").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dsbench-old=HEAD"], "--dsbench-old confirms what --dsbench-compare suspects; give that too"),
        (
            ["--dsbench-compare", "--dsbench-old=/no/such/python"],
            "--dsbench-old: /no/such/python does not exist; expected the path of a Python interpreter",
        ),
        (
            ["--dsbench-compare", "--dsbench-old=./bench_doubled.py"],
            "--dsbench-old: ./bench_doubled.py cannot be executed; expected the path of a Python interpreter",
        ),
        (["--dsbench-self-check=abc"], "--dsbench-self-check=abc: expected a share between 0 and 1, such as 5% or 0.05"),
        (["--dsbench-self-check=5"], "--dsbench-self-check=5: expected a share between 0 and 1, such as 5% or 0.05"),
        (["--dsbench-self-check=nan"], "--dsbench-self-check=nan: expected a share between 0 and 1, such as 5% or 0.05"),
        (
            ["--benchmark-disable", "--dsbench-compare"],
            "--dsbench-compare needs times, and --benchmark-disable takes none; leave one of them out",
        ),
        (
            ["--dsbench-save", "--dsbench-plan"],
            "--dsbench-save needs times, and --dsbench-plan takes none; leave one of them out",
        ),
        (
            ["--dsbench-summary=a.md", "--dsbench-plan"],
            "--dsbench-summary tells of a run, and --dsbench-plan runs nothing; leave one of them out",
        ),
        (["--dsbench-summary=shapes"], "--dsbench-summary={path}/shapes: a folder; expected the name of a file"),
        (["--dsbench-summary=no/where.md"], "--dsbench-summary={path}/no/where.md: there is no folder {path}/no"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake(gated: Gated, words: list[str], sentence: str) -> None:
    refused(gated.run(*words), sentence.replace("{path}", str(gated.path)))
    assert not (gated.path / "runs").exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("min_chnge = 0.02", "unknown threshold 'min_chnge'; did you mean 'min_change'? known: "),
        ("min_change", "'min_change'; expected name = value, such as min_change = 0.02"),
        ("min_change = a lot", "min_change = a lot; expected a share between 0 and 1, such as 0.015 for 1.5 %"),
        ("pairs = 1", "pairs = 1; expected a whole number of at least 2"),
        ("history = 3", "history = 3 nights are fewer than learn = 5"),
    ],
)
@pytest.mark.parametrize("words", [["--dsbench-compare"], []], ids=["compare", "plain"])
def test_a_mistake_in_a_threshold(gated: Gated, line: str, sentence: str, words: list[str]) -> None:
    gated.project.file("pytest.ini", f"[pytest]\ndsbench_gate =\n  {line}\n")
    found = gated.run(*words)
    assert (found.code, found.counts) == (4, {})
    assert [one for one in found.lines if one.startswith(f"ERROR: dsbench_gate: {sentence}")]


def test_the_old_interpreter_must_be_able_to_measure(gated: Gated) -> None:
    lacking = gated.path / "lacking"
    lacking.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    lacking.chmod(0o755)
    found = gated.compare(f"--dsbench-old={lacking}")
    refused(found, f"--dsbench-old: {lacking} has no torch and no msgspec; a duet needs torch and msgspec in both interpreters")
