"""--dsbench-compare and --dsbench-save: what becomes of a case that got slower, faster, wrong, or cannot be judged."""

import xml.etree.ElementTree as ElementTree

import pytest
from facts import BASELINE, Gated, every
from project import Project

from pytest_dsbench import environment

#: What a regressed test says, in one line.
SENTENCE = (
    "shapes/doubled.toml:4: doubled[rows64] good regressed against baselines/cpu: efficiency {then} -> {now},"
    " T 640 us -> 704 us; change +9.9 %, 95 % interval +8.9 % ... +11.0 %, allowed +1.5 %; T_SOL {bound};"
    " repeated in 3 fresh processes; also changed: nothing that is known"
)


@pytest.fixture
def gated(project: Project, monkeypatch: pytest.MonkeyPatch) -> Gated:
    return Gated(project.doubled(), monkeypatch)


def only(outcome: str) -> dict[str, str]:
    """rows64 came out so, the others are the same."""
    return {**every("same"), "rows64-good": outcome}


def test_the_first_nights_are_learning(gated: Gated) -> None:
    assert gated.run("--dsbench-save").code == 0
    assert gated.verdicts() == every("new")
    for night in (1, 2, 3, 4):
        found = gated.compare("--dsbench-save")
        assert (found.code, gated.verdicts()) == (0, every("learning"))
        assert f"3 cases still learning, with {night} of 5 nights or more" in found.lines
    assert gated.compare("--dsbench-save").code == 0
    assert gated.verdicts() == every("same")
    assert len(gated.stored(64)["window"]) == 6


def test_the_same_times_are_the_same(gated: Gated) -> None:
    stored = (gated.baseline().path / BASELINE).read_bytes()
    found = gated.compare()
    assert (found.code, found.counts) == (0, {"passed": 3})
    assert gated.verdicts() == every("same")
    assert "held against baselines/cpu" in found.lines
    assert "3 cases: 3 same" in found.lines
    assert gated.facts.confirmed == []
    assert (gated.path / BASELINE).read_bytes() == stored, "nobody asked for it to be saved"


def test_a_slower_case_fails_as_its_own_test(gated: Gated) -> None:
    gated.baseline().facts.takes["rows64-good"] = 1.1
    found = gated.compare("--junitxml=out.xml")
    assert (found.code, found.counts) == (1, {"failed": 1, "passed": 2})
    assert gated.verdicts() == only("regressed")
    run = gated.project.read()
    (confirmation,) = run.confirmations
    assert (confirmation.case.name, confirmation.how, len(confirmation.levels)) == ("doubled[rows64] good", "rerun", 3)
    (verdict,) = [one for one in run.verdicts if one.outcome == "regressed"]
    assert verdict.change == pytest.approx(0.095, abs=0.002) and verdict.confirmed_by == "rerun"
    # The roof is that of this CPU, as it was measured.
    (bound,) = [one.bound for one in run.measurements if one.case.label == "rows64"]
    (sentence,) = [line for line in found.lines if line.startswith("shapes/doubled.toml:4: ")]
    told = sentence.split("efficiency ")[1].split(",")[0].split(" -> ")
    limit = sentence.split("T_SOL ")[1].split(";")[0]
    assert sentence == SENTENCE.format(then=told[0], now=told[1], bound=limit)
    assert verdict.t_sol == bound.seconds if bound else False
    (suite,) = ElementTree.parse(gated.path / "out.xml").getroot()
    failures = {case.get("name"): one.get("message") for case in suite for one in case.iter("failure")}
    assert failures == {"bench_doubled[rows64-good]": f"Failed: {sentence}"}
    # What failed is what --lf runs, and that alone is no reason to miss the others.
    found = gated.compare("--lf")
    assert (found.code, found.counts) == (1, {"failed": 1})
    assert gated.verdicts() == {"rows64-good": "regressed"}


def test_a_suspicion_that_does_not_repeat_passes(gated: Gated) -> None:
    gated.baseline().facts.takes["rows64-good"] = 1.1
    gated.facts.again["rows64-good"] = 1.0
    found = gated.compare()
    assert (found.code, found.counts, gated.verdicts()) == (0, {"passed": 3}, every("same"))
    assert gated.facts.confirmed == ["rows64-good"]
    (line,) = [line for line in found.lines if "was suspected" in line]
    assert line.startswith("doubled[rows64] good was suspected and is the same: ")
    assert line.endswith(" % longer at first, which did not repeat in fresh processes")


@pytest.mark.parametrize(
    ("outcome", "change", "code", "verdict"), [("same", 0.001, 0, "same"), ("regressed", 0.03, 1, "regressed")]
)
def test_the_duet_has_the_last_word(gated: Gated, outcome: str, change: float, code: int, verdict: str) -> None:
    gated.baseline().facts.takes["rows64-good"] = 1.1
    gated.facts.duet = (outcome, change)
    found = gated.compare()
    assert (found.code, gated.verdicts()) == (code, only(verdict))
    assert found.text.count("9 pairs of old and new side by side") == 1 + code, "in the summary, and in the failure"


def test_no_more_suspects_are_confirmed_than_was_said(gated: Gated) -> None:
    gated.baseline().project.file("pytest.ini", "[pytest]\ndsbench_gate = confirmations = 1\n")
    gated.facts.takes = {"rows16-good": 1.1, "rows64-good": 1.1}
    found = gated.compare()
    assert gated.facts.confirmed == ["rows16-good"]
    assert (found.code, gated.verdicts()) == (1, {**only("regressed"), "rows16-good": "regressed"})
    assert "not confirmed by another measurement" in found.text


def test_a_slower_case_is_not_saved_without_a_reason(gated: Gated) -> None:
    before = gated.baseline().stored(64)
    gated.facts.takes["rows64-good"] = 1.1
    found = gated.compare("--dsbench-save")
    assert found.code == 1
    (line,) = [line for line in found.lines if line.startswith("doubled[rows64] good: regressed, ")]
    assert line.endswith(' longer than before, not accepted; a reason accepts it, such as --dsbench-save="driver 580"')
    assert "saved: 0 new cases, 2 accepted, 1 not; wrote baselines/cpu/doubled.jsonl" in found.lines
    assert gated.stored(64) == {**before, "pending": gated.stored(64)["pending"]}
    assert len(gated.stored(16)["window"]) == 7


def test_a_slower_case_is_saved_with_a_reason(gated: Gated) -> None:
    gated.baseline().facts.takes["rows64-good"] = 1.1
    found = gated.compare("--dsbench-save=driver 580")
    assert (found.code, found.counts) == (0, {"passed": 3})
    assert "saved: 0 new cases, 3 accepted, 0 not; wrote baselines/cpu/doubled.jsonl" in found.lines
    (note,) = gated.stored(64)["notes"]
    assert note.endswith(" longer than before: driver 580")
    assert gated.compare().code == 0
    assert gated.verdicts() == every("same")


def test_an_improvement_raises_the_bar(gated: Gated) -> None:
    gated.baseline().facts.takes["rows64-good"] = 0.9
    assert (gated.compare().code, gated.verdicts()) == (0, only("improved"))
    assert gated.facts.confirmed == [], "nothing depends on it"
    gated.facts.duet = ("improved", -0.105)
    found = gated.compare("--dsbench-save")
    assert (found.code, gated.verdicts()) == (0, only("improved"))
    assert gated.facts.confirmed == ["rows64-good"]
    assert any(line.startswith("doubled[rows64] good: the bar is raised, ") for line in found.lines)
    assert (gated.compare().code, gated.verdicts()) == (0, every("same"))
    del gated.facts.takes["rows64-good"]
    gated.facts.duet = None
    assert (gated.compare().code, gated.verdicts()) == (1, only("regressed"))


def test_a_wrong_result_is_invalid(gated: Gated) -> None:
    stored = (gated.baseline().path / BASELINE).read_bytes()
    bench = gated.path / "bench_doubled.py"
    bench.write_text(bench.read_text().replace("x * 2\n\n\n\n", "x * (3 if op.rows == 64 else 2)\n\n\n\n"))
    found = gated.compare("--dsbench-save=whatever", "-k", "rows64")
    assert (found.code, found.counts["failed"], gated.verdicts()) == (1, 1, {"rows64-good": "invalid"})
    assert (gated.path / BASELINE).read_bytes() == stored, "a reason accepts times, and a wrong result has none"


def test_another_environment_is_not_judged(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    gated.baseline()
    read = environment.read
    monkeypatch.setattr(environment, "read", lambda device: read(device).replace(torch="2.99.0"))
    gated.facts.takes["rows64-good"] = 2.0
    found = gated.compare()
    assert (found.code, found.counts, gated.verdicts()) == (3, {"passed": 3}, every("environment"))
    assert "exit code 3: the environment is not fit to judge; see above" in found.lines
    assert "3 of them could not be judged: the environment is not fit to judge" in found.lines
    reason = f"the baseline is of another environment: torch {read('cpu').torch} -> 2.99.0"
    assert [one.why for one in gated.project.read().verdicts] == [reason] * 3
    assert found.text.count(reason) == 3
    assert gated.facts.confirmed == []
    # With a reason it begins again there.
    assert gated.compare("--dsbench-save=torch 2.99").code == 0
    assert len(gated.stored(64)["window"]) == 1
    assert (gated.compare().code, gated.verdicts()) == (0, every("learning"))


def test_a_machine_that_moved_is_not_judged(gated: Gated) -> None:
    stored = (gated.baseline().path / BASELINE).read_bytes()
    gated.facts.anchors = gated.facts.all = 1.1
    found = gated.compare("--dsbench-save")
    assert (found.code, found.counts, gated.verdicts()) == (3, {"passed": 3}, every("environment"))
    assert "anchor takes 10.0 % longer than in the baseline: the machine moved, not the code" in found.text
    assert (gated.path / BASELINE).read_bytes() == stored


def test_a_noisy_host_is_not_judged(gated: Gated) -> None:
    stored = (gated.baseline().path / BASELINE).read_bytes()
    gated.facts.noisy = {"rows64-good", "rows16-good"}
    found = gated.compare("--dsbench-save")
    assert (found.code, gated.verdicts()) == (3, {**every("noisy_host"), "rows256-good": "same"})
    assert (gated.path / BASELINE).read_bytes() != stored, "one of them was fit"
    assert len(gated.stored(64)["window"]) == 6 and len(gated.stored(256)["window"]) == 7
    gated.facts.noisy = {"rows64-good"}
    assert (gated.compare().code, gated.verdicts()) == (0, only("noisy_host"))


def test_what_is_over_the_budget_is_not_judged(gated: Gated) -> None:
    found = gated.baseline().compare("--dsbench-budget=0.0001ns")
    assert (found.code, found.counts, gated.verdicts()) == (0, {"skipped": 3}, every("not_run"))


def test_many_that_move_together_are_one_alarm(gated: Gated) -> None:
    gated.project.doubled(shapes='operator = "doubled"\ncase = [{ rows = [1, 2, 3, 4, 5, 6] }]\n')
    gated.baseline().facts.all = 1.02
    found = gated.compare()
    assert found.code == 1
    (line,) = [line for line in found.lines if line.startswith("one alarm: ")]
    assert line.startswith("one alarm: good: 6 of 6 cases moved together, in the middle ")


def test_a_case_against_itself(gated: Gated) -> None:
    found = gated.run("--dsbench-self-check=100%")
    line = "self-check: 3 cases duelled against themselves: 0 alarms (0.0 %); largest change 0.0 %"
    assert (found.code, line in found.lines) == (0, True)
    assert [one.how for one in gated.project.read().confirmations] == ["self"] * 3
    assert gated.project.read().verdicts == ()
    gated.facts.itself = 0.03
    found = gated.compare("--dsbench-self-check=1")
    assert "self-check: 3 cases duelled against themselves: 3 alarms (100.0 %); largest change 3.0 %" in found.lines
    assert (found.code, gated.verdicts()) == (0, every("new")), "it is told, and not held against anybody"
    assert "self-check" not in gated.run("--dsbench-self-check=0%").text


def test_the_summary_as_markdown(gated: Gated) -> None:
    gated.baseline().facts.takes["rows64-good"] = 1.1
    gated.facts.takes["rows256-good"] = 0.9
    assert gated.compare("--dsbench-summary=night.md", "--dsbench-self-check=100%").code == 1
    lines = (gated.path / "night.md").read_text().splitlines()
    assert lines[0] == "## dsbench: 1 regressed, 1 improved"
    rows = [line.split(" | ")[:2] for line in lines if line.startswith("| doubled[")]
    assert rows == [["| doubled[rows64] good", "regressed"], ["| doubled[rows256] good", "improved"]]
    assert "- 3 cases: 1 regressed, 1 improved, 1 same" in lines
    assert "- minimum detectable effect: 1.5 % in the middle case, 1.5 % in the worst" in lines
    assert [line for line in lines if line.startswith("- self-check: 3 cases")]
    for title in ("### Against baselines/cpu", "### Operators", "### Environment"):
        assert title in lines
    assert "not as in the baseline" not in "\n".join(lines)


def test_the_summary_tells_what_else_changed(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    gated.baseline()
    read = environment.read
    monkeypatch.setattr(environment, "read", lambda device: read(device).replace(torch="2.99.0", commit="f" * 40))
    assert gated.compare("--dsbench-summary=night.md").code == 3
    lines = (gated.path / "night.md").read_text().splitlines()
    assert lines[0] == "## dsbench: 3 not fit to be judged"
    reason = f"the baseline is of another environment: torch {read('cpu').torch} -> 2.99.0"
    assert f"- not as in the baseline: {reason}" in lines
    assert f"- not as in the baseline: commit none -> {'f' * 12}" in lines
