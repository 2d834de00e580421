"""What the gate says in words: the sentence of a regressed test, the tables, and the summary of a nightly job."""

import re
from math import log
from pathlib import Path
from typing import Any

import pytest
from gated import (
    ENVIRONMENT,
    NEW_DRIVER,
    SHEET,
    USUAL,
    accepted,
    baseline,
    by_duet,
    by_rerun,
    case,
    entry,
    header,
    in_environment,
    judged,
    measured,
    one_verdict,
)

from pytest_dsbench.gate.accepting import Acceptance
from pytest_dsbench.gate.finish import Finish
from pytest_dsbench.gate.judgement import Judgement
from pytest_dsbench.gate.nights import tonight
from pytest_dsbench.measurement import Measurement
from pytest_dsbench.report.gate import SHOWN, failure, finish_lines, markdown_lines, saved_lines, self_check_lines, text_lines
from pytest_dsbench.report.summary import summary_lines
from pytest_dsbench.verdict import ALARMS, UNFIT, Confirmation, Outcome, Verdict

SLOW = measured(1.1e-5, packages={"triton": "3.6.0"}, case=case().replace(where="shapes/norm/rms_norm.toml:12"), t_sol=8e-6)


def verdict(outcome: Outcome = "regressed", tokens: int = 8, **more: Any) -> Verdict:
    return Verdict(case=case(tokens), outcome=outcome, **more)


def judgement(*verdicts: Verdict, **more: Any) -> Judgement:
    return Judgement(source="baselines/h200", verdicts=verdicts, **more)


def cells(line: str) -> list[str]:
    """The cells of a row of a markdown table, as they are shown."""
    assert line.startswith("| ") and line.endswith(" |")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# -- the sentence of a test ---------------------------------------------------------------------------------------------------


def test_the_sentence_of_a_regression() -> None:
    found = one_verdict(baseline(entry(USUAL * 2)), SLOW, 30, by_duet(log(1.1), "regressed"))
    assert failure(found, "baselines/h200") == (
        "shapes/norm/rms_norm.toml:12: rms_norm[tokens8-hidden64] triton regressed against baselines/h200:"
        " efficiency 80.0 % -> 72.7 %, T 10.0 us -> 11.0 us;"
        " change +10.0 %, 95 % interval +9.8 % ... +10.2 %, allowed +1.5 %; T_SOL 8.00 us;"
        " 1 pairs of old and new side by side; also changed: triton 3.5.0 -> 3.6.0"
    )


def test_the_sentence_where_nothing_else_changed_and_nothing_is_known() -> None:
    assert failure(verdict("invalid"), "x") == (
        "shapes/rms_norm.toml:7: rms_norm[tokens8-hidden64] triton invalid against x: efficiency - -> -, T - -> -;"
        " change -, 95 % interval -, allowed -; T_SOL -; also changed: nothing that is known"
    )


@pytest.mark.parametrize(
    ("changes", "then", "now", "said"),
    [
        ({"packages": {"triton": "3.5.0", "torch": "2.9.0"}}, {}, {}, "torch none -> 2.9.0"),
        ({"packages": {}}, {}, {}, "triton 3.5.0 -> none"),
        ({}, {}, {"commit": "fedcba9876543210"}, "commit 0123456789ab -> fedcba987654"),
        ({}, {"python": "3.12.1"}, {"python": "3.13.0"}, "python 3.12.1 -> 3.13.0"),
        ({}, {"host_cpu": "a"}, {"host_cpu": "b"}, "host CPU a -> b"),
        ({"t_sol": 7.2e-6}, {}, {}, "T_SOL 90.0 % of what it was"),
        ({}, {}, {}, "nothing that is known"),
    ],
)
def test_what_else_changed(changes: dict[str, Any], then: dict[str, str], now: dict[str, str], said: str) -> None:
    before = baseline(entry(USUAL * 2), environments={ENVIRONMENT.key(): ENVIRONMENT.replace(**then)})
    here = ENVIRONMENT.replace(**now)
    (found,) = judged(before, tonight([measured(1.2e-5, **changes)], header(30, here)), now=here).verdicts
    assert failure(found, "x").lower().endswith(f"; also changed: {said.lower()}")


# -- tables -------------------------------------------------------------------------------------------------------------------


def test_a_case_in_the_table() -> None:
    found = judged(baseline(entry(USUAL * 2)), tonight([SLOW], header()), [by_rerun(0.09, 0.0901, 0.0899)])
    row = text_lines(found)[3]
    values = ["10.0 us", "11.0 us", "+9.4 %", "+8.8 % ... +10.0 %", "+1.5 %", "+1.5 %", "8.00 us", "80.0 %", "72.7 %"]
    why = "repeated in 3 fresh processes; changed: triton 3.5.0 -> 3.6.0"
    assert re.split("  +", row) == ["rms_norm[tokens8-hidden64] triton", "regressed", *values, why]
    (line,) = (line for line in markdown_lines(found) if "rms_norm[" in line)
    assert cells(line) == re.split("  +", row)


def test_nothing_stands_out() -> None:
    assert text_lines(judgement(verdict("same"))) == ["held against baselines/h200", "", "1 case: 1 same"]
    assert markdown_lines(judgement())[0] == "### Against baselines/h200"


def test_every_case_where_that_is_asked_for() -> None:
    found = judgement(*(verdict("same", n, change=0.001, mde=0.02) for n in range(30)))
    assert len(text_lines(found)) == 4 and "MDE" not in text_lines(found)[0]
    lines = text_lines(found, everything=True)
    assert sum("+2.0 %" in line and "same" in line for line in lines) == 30
    assert not any("more cases" in line for line in lines)


def test_the_worst_come_first() -> None:
    outcomes: list[Outcome] = ["new", "improved", "regressed", "missing", "suspect", "regressed"]
    found = judgement(*(verdict(outcome, n, change=0.01 * n) for n, outcome in enumerate(outcomes)))
    rows = [cells(line) for line in markdown_lines(found) if "rms_norm[" in line]
    assert [(row[1], row[4]) for row in rows] == [
        ("regressed", "+5.1 %"),
        ("regressed", "+2.0 %"),
        ("missing", "+3.0 %"),
        ("suspect", "+4.1 %"),
        ("improved", "+1.0 %"),
        ("new", "+0.0 %"),
    ]


def test_what_fails_a_run_or_makes_it_unfit_is_shown() -> None:
    assert {*ALARMS, *UNFIT} <= set(SHOWN) and SHOWN[: len(ALARMS)] == ALARMS


def test_no_more_than_25_of_one_outcome() -> None:
    found = judgement(*(verdict("new", n) for n in range(40)), *(verdict("suspect", n) for n in range(25)))
    for lines in (text_lines(found), markdown_lines(found)):
        assert sum("] triton" in line for line in lines) == 50
        assert [line.removeprefix("- ") for line in lines if "more" in line] == ["15 more cases are new"]
        assert lines[-1].removeprefix("- ") == "65 cases: 25 suspect, 40 new"


def test_bars_in_markdown() -> None:
    """A label, a reason, a version: whatever holds a bar stays in its cell."""
    odd = verdict(why="a | b", changed=("x 1|2 -> 3",)).replace(case=case().replace(label="p|q"))
    lines = markdown_lines(judgement(odd))
    (line,) = (line for line in lines if "p\\|q" in line)
    assert (cells(line)[0], cells(line)[-1]) == ("rms_norm[p|q] triton", "a | b; changed: x 1|2 -> 3")
    assert {len(cells(one)) for one in lines if one.startswith("|")} == {12}


def test_what_a_run_can_detect() -> None:
    found = judgement(*(verdict("same", n, mde=log(1 + share)) for n, share in enumerate((0.02, 0.016, 0.12))))
    assert "minimum detectable effect: 2.0 % in the middle case, 12.0 % in the worst" in text_lines(found)


def test_learning_is_counted() -> None:
    lines = text_lines(judgement(*(verdict("learning", n, nights=n, needed=5) for n in (3, 4))))
    assert lines[-1] == "2 cases: 2 learning"
    assert verdict("learning", nights=3, needed=5).title == "learning 3/5"


def test_one_alarm_for_many_cases() -> None:
    """What got faster together is no alarm; and what changed for most of them is named."""
    ways = {"triton": 1.1, "torch": 0.9, "liger": 1.0}
    names = [(tokens, provider) for tokens in range(6) for provider in ways]
    before = baseline(*(entry(USUAL * 2, tokens=tokens, provider=provider) for tokens, provider in names))
    packages = {"triton": "3.6.0"}
    night = [measured(1e-5 * ways[provider], tokens, provider, packages=packages) for tokens, provider in names]
    night[0] = night[0].replace(packages={**packages, "cuda": "13"})
    lines = text_lines(judged(before, tonight(night, header())))
    assert "one alarm: triton: 6 of 6 cases moved together, in the middle 10.0 % longer" in lines
    assert "torch: 6 of 6 cases moved together, in the middle 10.0 % less" in lines
    assert "also changed: triton 3.5.0 -> 3.6.0" in lines
    assert not any("liger:" in line for line in lines)


def test_many_moved_and_nothing_is_known_to_have_changed() -> None:
    before = baseline(*(entry(USUAL * 2, tokens=tokens) for tokens in range(6)))
    lines = text_lines(judged(before, tonight([measured(1.1e-5, tokens) for tokens in range(6)], header())))
    assert "also changed: nothing that is known" in lines


def test_lines_that_could_not_be_read() -> None:
    lines = text_lines(judgement(complaints=tuple(f"a:{n}: broken" for n in range(30))))
    assert [line for line in lines if line.endswith("broken")] == [f"a:{n}: broken" for n in range(25)]
    assert "5 more lines of the baseline could not be read" in lines


def test_an_unfit_environment() -> None:
    found = judgement(verdict("environment"), verdict("noisy_host", 2), verdict("same", 3))
    assert found.code() == 3
    assert text_lines(found)[-1].startswith("2 of them could not be judged: the environment is not fit to judge")


# -- what was saved -----------------------------------------------------------------------------------------------------------


def saved(taken: Acceptance, *written: str) -> list[str]:
    return saved_lines(Finish(judged=judgement(), taken=taken, written=tuple(map(Path, written))), str)


def test_nothing_was_to_be_saved() -> None:
    finish = Finish(judged=judgement(verdict("same")))
    assert saved_lines(finish, str) == [] and finish_lines(None, str) == []
    assert finish_lines(finish, str) == ["", *text_lines(finish.judged)]


def test_what_had_no_time_is_counted() -> None:
    night = [measured(), measured(tokens=64, status="noisy_host"), measured(tokens=512, status="failed")]
    taken = accepted(baseline(), night)
    assert saved(taken, "b/rms_norm.jsonl") == [
        "saved: 1 new cases, 0 accepted, 0 not, 2 had no time to take; wrote b/rms_norm.jsonl"
    ]


def test_what_was_saved() -> None:
    before = baseline(entry(USUAL * 2), entry(USUAL * 2, tokens=64), entry(USUAL * 2, tokens=512))
    night = [measured(), measured(1.3e-5, tokens=64), measured(0.8e-5, tokens=512), measured(tokens=7)]
    taken = accepted(before, night, confirmations=[by_duet(log(0.8), "improved", tokens=512)])
    assert saved(taken, "b/rms_norm.jsonl") == [
        "rms_norm[tokens512-hidden64] triton: the bar is raised, 20.0 % less than before",
        "rms_norm[tokens64-hidden64] triton: regressed, 30.0 % longer than before, not accepted;"
        ' a reason accepts it, such as --dsbench-save="driver 580"',
        "saved: 1 new cases, 2 accepted, 1 not; wrote b/rms_norm.jsonl",
    ]


def test_no_more_than_25_sentences_of_what_was_saved() -> None:
    taken = Acceptance(baseline=baseline(), moved=("m",) * 30, left=("l",) * 40)
    lines = saved(taken, *"abcde")
    assert (lines.count("m"), lines.count("l")) == (25, 25)
    assert lines[-2:] == [
        "and 20 more cases whose bar moved, or that were not accepted",
        "saved: 0 new cases, 0 accepted, 40 not; wrote a, b, c and 2 more files",
    ]
    assert saved(Acceptance(baseline=baseline()))[-1].endswith("wrote no file")


# -- cases duelled against themselves -----------------------------------------------------------------------------------------


def itself(tokens: int, outcome: str | None, change: float | None, reason: str | None = None) -> Confirmation:
    return Confirmation(case=case(tokens), how="self", outcome=outcome, change=change, reason=reason)


def test_self_check() -> None:
    found = [itself(1, "same", 0.001), itself(2, "regressed", 0.03), itself(3, None, None, "lost"), by_duet(0.2, "regressed")]
    assert self_check_lines(found, 0.05) == [
        "self-check: 2 cases duelled against themselves: 1 alarm (50.0 %); largest change 3.0 %",
        "self-check, false alarm: rms_norm[tokens2-hidden64] triton: +3.0 %",
        "self-check: rms_norm[tokens3-hidden64] triton: lost",
    ]
    assert self_check_lines([by_duet(0.2, "regressed")], 0.0) == []


# -- the summary of a nightly job ---------------------------------------------------------------------------------------------


def finish(*found: Measurement, now: Any = ENVIRONMENT) -> Finish:
    before = baseline(*(entry(USUAL * 2, tokens=tokens) for tokens in (8, 64)))
    return Finish(judged=judged(before, tonight(in_environment(found, now), header(30, now)), now=now))


@pytest.mark.parametrize(
    ("found", "now", "head"),
    [
        ([measured(), measured(tokens=64)], ENVIRONMENT, "nothing regressed"),
        ([measured(1.3e-5), measured(0.7e-5, tokens=64)], ENVIRONMENT, "1 regressed, 1 improved"),
        ([measured()], ENVIRONMENT, "1 missing"),
        ([measured(), measured(tokens=64, status="failed", reason="off")], ENVIRONMENT, "1 failed"),
        ([measured(), measured(tokens=64)], NEW_DRIVER, "2 not fit to be judged"),
        ([measured(), measured(tokens=64, status="noisy_host")], ENVIRONMENT, "1 not fit to be judged"),
    ],
)
def test_the_first_line_of_a_summary(found: list[Measurement], now: Any, head: str) -> None:
    lines = summary_lines(found, header(), finish(*found, now=now), [], 0.0)
    assert lines[0] == f"## dsbench: {head}" and SHEET.title in lines[2]


@pytest.mark.parametrize(("status", "head"), [("passed", "nothing failed"), ("failed", "1 failed")])
def test_the_first_line_of_a_summary_without_a_gate(status: Any, head: str) -> None:
    lines = summary_lines([measured(status=status, reason="off")], header(), None, [], 0.0)
    assert lines[0] == f"## dsbench: {head}" and not any(line.startswith("### Against") for line in lines)


def test_one_alarm_is_in_the_first_line() -> None:
    done = Finish(judged=judgement(joint=("x longer",), joint_alarm=True))
    assert summary_lines([], header(), done, [], 0.0)[0] == "## dsbench: one alarm for many cases"


def test_what_a_summary_holds() -> None:
    night = [measured(1.3e-5), measured(tokens=64, status="failed", reason="out is 3x off")]
    done = finish(*night)
    done = done.replace(taken=Acceptance(baseline=baseline(), left=("it stays",)), written=(Path("b") / "rms_norm.jsonl",))
    lines = summary_lines(night, header(notes=("a note",)), done, [itself(8, "same", 0.0)], 0.0)
    assert "- **failed** shapes/rms_norm.toml:7: rms_norm[tokens64-hidden64] triton: out is 3x off" in lines
    assert "- it stays" in lines and "- saved: 0 new cases, 0 accepted, 1 not; wrote b/rms_norm.jsonl" in lines
    assert any(line.startswith("- self-check: 1 case duelled against itself: 0 alarms") for line in lines)
    assert "- a note" in lines
    heads = [line for line in lines if line.startswith("#")]
    assert [one for one in heads if "Score" not in one] == [
        "## dsbench: 1 failed, 1 regressed",
        "### Against baselines/h200",
        "### Operators",
        "### Environment",
    ]
    rows = [cells(line) for line in lines if line.startswith("| ")]
    assert ["rms_norm", "triton"] in [row[:2] for row in rows]
    assert ["key", ENVIRONMENT.key()] in rows and ["driver", "570.86"] in rows
    assert not any(row[0] == "temperature" for row in rows)


def test_a_summary_renders() -> None:
    """A table needs an empty line before it, and as many cells in every row as in its head."""
    night = [measured(1.3e-5), measured(0.7e-5, tokens=64)]
    lines = summary_lines(night, header(), finish(*night), [itself(8, "same", 0.0)], 0.0)
    rows = 0
    for before, line in zip(["", *lines], lines, strict=False):
        assert "\n" not in line
        if line.startswith("|"):
            assert before == "" or (before.startswith("|") and len(cells(before)) == len(cells(line)))
            rows += 1
        if line.startswith("#"):
            assert before == "" or line is lines[0]
    assert rows > 10
