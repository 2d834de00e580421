"""The gate on real records: every verdict with its sentence, what confirms it, and what must not change it."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import exp, log
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dsbench.anchors import Anchors
from pytest_dsbench.environment import Environment
from pytest_dsbench.gate.accepting import accept
from pytest_dsbench.gate.baseline import Baseline
from pytest_dsbench.gate.judge import Gate
from pytest_dsbench.gate.judgement import Judgement, judge_run
from pytest_dsbench.gate.nights import tonight
from pytest_dsbench.hardware import Hardware
from pytest_dsbench.measurement import Measurement, Planned
from pytest_dsbench.roofline import Bound
from pytest_dsbench.runs import Coverage, Header
from pytest_dsbench.stats import Estimate
from pytest_dsbench.thresholds import Thresholds
from pytest_dsbench.verdict import Confirmation, Verdict

LIMITS = Thresholds()
SHEET = Hardware(name="toy", title="Toy GPU", peak={"bf16": 1e14}, bandwidth=1e12, source="made up")
HERE = Environment(device="cuda", gpu="Toy GPU", driver="570.1")
ANCHORS = Anchors(copy_seconds=2e-4, compute_seconds=6e-4, launch_seconds=2e-6, compute_kind="triton fma")
ALL = Coverage(paths=("",))
#: What a steady case did in its nights, ln T: a scale of about half a per cent.
WOBBLE = [0.0, 0.004, -0.003, 0.006, -0.005, 0.001, -0.002, 0.003, -0.006, 0.005, 0.002, -0.004, 0.0, 0.003, -0.001]
#: T in seconds of some cases of two providers.
TIMES = {("gelu", 64, "torch"): 1e-5, ("gelu", 64, "triton"): 2e-5, ("gelu", 128, "torch"): 3e-4, ("rms_norm", 64, "torch"): 5e-4}
CASE = ("gelu", 64, "torch")

Key = tuple[str, int, str]


def planned(key: Key, label: str | None = None) -> Planned:
    operator, tokens, provider = key
    return Planned(operator=operator, dims={"tokens": tokens}, label=label or f"tokens{tokens}", where="a:1", provider=provider)


def measurement(key: Key, seconds: float | None, number: int = 0, **more: Any) -> Measurement:
    time = seconds and Estimate(median=seconds, low=0.999 * seconds, high=1.001 * seconds, n=60, stopped_by="precise")
    values: dict[str, Any] = {
        "case": planned(key),
        "status": "passed",
        "bound": Bound(seconds=0.7 * TIMES.get(key, 1e-4), by="memory" if key[1] == 64 else "compute", regime="memory"),
        "time": time or None,
        "mode": "events",
        "cold": True,
        "anchors": ANCHORS,
        "at": 10.0 * number,
        "packages": {"torch": "2.9.0"},
    }
    return Measurement(**{**values, **more})


def header(night: int, environment: Environment = HERE) -> Header:
    started = (datetime(2026, 11, 1, 3) + timedelta(days=night)).isoformat()
    return Header(started=started, environment=environment, hardware=SHEET, coverage=ALL)


def night(
    slower: dict[Key, float] | None = None, wobble: float = 0.0, times: dict[Key, float] | None = None
) -> list[Measurement]:
    """One run of all cases; `slower` in ln T."""
    chosen = times or TIMES
    return [
        measurement(key, seconds * exp(wobble * (-1) ** place + (slower or {}).get(key, 0.0)), place)
        for place, (key, seconds) in enumerate(chosen.items())
    ]


def taken(baseline: Baseline, run: Sequence[Measurement], number: int, *confirmations: Confirmation) -> Baseline:
    """The baseline after one more night."""
    found = tonight(run, header(number))
    judged = judge_run(Gate(baseline, LIMITS, HERE), found, ALL, confirmations)
    return accept(baseline, found, {one.case.identity: one for one in judged.verdicts}, HERE, LIMITS).baseline


def history(nights: int = 15, times: dict[Key, float] | None = None) -> Baseline:
    baseline = Baseline(source="baselines/toy", hardware="toy")
    for number, wobble in enumerate(WOBBLE[:nights]):
        baseline = taken(baseline, night(wobble=wobble, times=times), number)
    return baseline


STEADY = history()


def judge(
    run: Sequence[Measurement],
    *confirmations: Confirmation,
    baseline: Baseline = STEADY,
    environment: Environment = HERE,
    coverage: Coverage = ALL,
) -> Judgement:
    found = tonight(run, header(20, environment))
    return judge_run(Gate(baseline, LIMITS, environment), found, coverage, confirmations)


def verdict(judged: Judgement, key: Key = CASE) -> Verdict:
    (found,) = [one for one in judged.verdicts if one.case.identity == planned(key).identity]
    return found


def one(**more: Any) -> list[Measurement]:
    """A quiet night on which the case came out otherwise."""
    return [measurement(CASE, more.pop("seconds", None), **more), *night()[1:]]


def duet(outcome: str | None, change: float | None = None, reason: str | None = None) -> Confirmation:
    deltas = () if change is None else (change,) * 9
    low, high = (None, None) if change is None else (change - 0.003, change + 0.003)
    return Confirmation(
        case=planned(CASE), how="duet", deltas=deltas, change=change, low=low, high=high, outcome=outcome, reason=reason
    )


def rerun(change: float | None) -> Confirmation:
    """Three fresh processes, as much slower than the window."""
    level = STEADY.entries[planned(CASE).identity].level
    levels = () if change is None else tuple(level + change + step for step in (-0.001, 0.0, 0.001))
    return Confirmation(case=planned(CASE), how="rerun", levels=levels, reason=None if levels else "the process ended early")


# -- verdicts -----------------------------------------------------------------------------------------------------------------


def test_a_quiet_night_is_the_same_and_succeeds() -> None:
    judged = judge(night())
    assert {one.outcome for one in judged.verdicts} == {"same"}
    assert (judged.code(), judged.joint, len(judged.verdicts)) == (0, (), len(TIMES))


def test_a_large_slowdown_is_regressed_and_fails_the_run() -> None:
    judged = judge(night({CASE: 0.10}))
    found = verdict(judged)
    assert (found.outcome, found.why, judged.code()) == ("regressed", "not confirmed by another measurement", 1)
    assert found.change == pytest.approx(0.10, abs=2e-3)
    assert found.then == pytest.approx(1e-5, rel=2e-3) and found.now == pytest.approx(1.105e-5, rel=2e-3)
    assert found.efficiency_then == pytest.approx(0.7, abs=2e-3) and found.efficiency_now == pytest.approx(0.633, abs=2e-3)
    assert found.low is not None and found.high is not None and found.low < 0.10 < found.high
    assert {one.outcome for one in judged.verdicts if one.case.identity != found.case.identity} == {"same"}


def test_a_large_improvement_is_improved_and_succeeds() -> None:
    judged = judge(night({CASE: -0.10}))
    assert (verdict(judged).outcome, judged.code()) == ("improved", 0)


def test_a_small_slowdown_is_suspect() -> None:
    judged = judge(night({CASE: 0.02}))
    assert (verdict(judged).outcome, judged.code()) == ("suspect", 0)
    assert verdict(judged).why == "2.0 % longer, not confirmed"


@pytest.mark.parametrize("nights", [1, 2, 4])
def test_few_nights_are_learning(nights: int) -> None:
    judged = judge(night(), baseline=history(nights))
    assert verdict(judged).title == f"learning {nights}/5"
    assert judged.code() == 0


def test_a_case_that_is_never_the_same_is_unstable() -> None:
    baseline = Baseline(source="baselines/toy", hardware="toy")
    for number, wobble in enumerate(WOBBLE):
        baseline = taken(baseline, night(wobble=10 * wobble), number, duet("same", 0.0))
    found = verdict(judge(night(), baseline=baseline))
    assert found.outcome == "unstable"
    assert found.why is not None and found.why.startswith("only slowdowns above ") and found.mde is not None and found.mde > 0.05


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [
        ("noisy_host", "noisy_host", 0),
        ("throttled", "throttled", 0),
        ("invalid", "invalid", 1),
        ("failed", "invalid", 1),
        ("crashed", "crashed", 1),
        ("timed_out", "timed_out", 1),
        ("skipped", "not_run", 0),
        ("checked", "not_run", 0),
        ("not_run", "not_run", 0),
    ],
)
def test_what_was_not_timed_says_why(status: str, outcome: str, code: int) -> None:
    judged = judge(one(status=status, reason="because"))
    assert (verdict(judged).outcome, verdict(judged).why, judged.code()) == (outcome, "because", code)


def test_a_run_that_is_mostly_unfit_has_its_own_exit_code() -> None:
    run = [measurement(key, None, place, status="noisy_host") for place, key in enumerate(TIMES)]
    assert judge(run).code() == 3
    assert judge([*run[:2], *night()[2:]]).code() == 0


def test_a_case_without_an_entry_is_new() -> None:
    other = ("gelu", 4096, "torch")
    judged = judge([*night(), measurement(other, 1e-3)])
    assert (verdict(judged, other).outcome, verdict(judged, other).why) == ("new", "baselines/toy has no entry of it")
    assert judged.code() == 0


def test_a_case_that_was_not_collected_is_missing() -> None:
    judged = judge(night()[1:])
    assert (verdict(judged).outcome, judged.code()) == ("missing", 1)
    assert verdict(judged).why == "baselines/toy has it, last on 2026-11-15; this run did not collect it"


@pytest.mark.parametrize(
    "coverage", [Coverage(), Coverage(paths=("",), partial=("gelu",)), Coverage(paths=("",), providers=("x",))]
)
def test_only_what_was_asked_for_can_be_missing(coverage: Coverage) -> None:
    assert judge(night()[1:], coverage=coverage).code() == 0


def test_another_environment_is_not_judged() -> None:
    judged = judge(night({CASE: 0.10}), environment=HERE.replace(driver="580.2"))
    assert {one.outcome for one in judged.verdicts} == {"environment"}
    assert verdict(judged).why == "the baseline is of another environment: driver 570.1 -> 580.2"
    assert judged.code() == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mode": "graph"}, "timed by graph here, events in the baseline"),
        ({"cold": False}, "cold caches False here, True in the baseline"),
        ({"protocol": 99}, "timing protocol 99 here, 1 in the baseline"),
    ],
)
def test_times_taken_otherwise_are_not_judged(change: dict[str, Any], why: str) -> None:
    judged = judge(one(seconds=1.1e-5, **change))
    assert (verdict(judged).outcome, verdict(judged).why, judged.code()) == ("environment", why, 3)


@pytest.mark.parametrize(("by", "key"), [("copy_seconds", ("gelu", 64, "torch")), ("compute_seconds", ("gelu", 128, "torch"))])
def test_a_machine_that_moved_is_not_judged(by: str, key: Key) -> None:
    moved = ANCHORS.replace(**{by: 1.2 * getattr(ANCHORS, by)})
    judged = judge([one.replace(anchors=moved) for one in night({CASE: 0.10})])
    bound = "memory" if by == "copy_seconds" else "compute"
    found = verdict(judged, key)
    assert found.outcome == "environment"
    assert found.why == f"the {bound} anchor takes 20.0 % longer than in the baseline: the machine moved, not the code"
    assert judged.code() == (3 if by == "copy_seconds" else 1)


def test_another_compute_anchor_is_not_comparable() -> None:
    judged = judge([one.replace(anchors=ANCHORS.replace(compute_kind="torch matmul")) for one in night()])
    found = verdict(judged, ("gelu", 128, "torch"))
    assert (found.outcome, verdict(judged).outcome) == ("environment", "same")
    assert found.why == "the compute anchor is torch matmul here, triton fma in the baseline"


def test_a_machine_that_is_a_little_slower_is_allowed_for() -> None:
    slower = ANCHORS.replace(copy_seconds=1.04 * ANCHORS.copy_seconds, compute_seconds=1.04 * ANCHORS.compute_seconds)
    run = [one.replace(anchors=slower) for one in night(dict.fromkeys(TIMES, log(1.04)))]
    assert {one.outcome for one in judge(run).verdicts} == {"same"}


def test_what_else_changed_is_named() -> None:
    judged = judge(one(seconds=1.1e-5, packages={"torch": "2.10.0"}))
    assert "torch 2.9.0 -> 2.10.0" in verdict(judged).changed


def test_a_provider_that_moves_as_a_whole_is_one_alarm() -> None:
    many = {("gelu", tokens, provider): 1e-4 for tokens in range(1, 13) for provider in ("torch", "triton")}
    baseline = history(times=many)
    judged = judge(night({key: 0.02 for key in many if key[2] == "torch"}, times=many), baseline=baseline)
    assert judged.joint_alarm and judged.code() == 1
    (sentence,) = judged.joint
    assert sentence.startswith("torch: 12 of 12 cases moved together, in the middle 2.0 % longer")
    faster = judge(night({key: -0.02 for key in many if key[2] == "torch"}, times=many), baseline=baseline)
    assert faster.joint and not faster.joint_alarm and faster.code() == 0


def test_small_slowdowns_that_add_up_are_found() -> None:
    baseline, said = STEADY, None
    for number in range(15, 45):
        step = 0.001 * (number - 14)
        run = night({CASE: step})
        found = verdict(judge(run, baseline=baseline))
        said = said or (found.why if found.why and found.why.startswith("crept") else None)
        baseline = taken(baseline, run, number, duet("same", step))
    assert said is not None and said.endswith("longer than the golden entry of 2026-11-05 over the last nights")


# -- confirmations ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "change"), [("regressed", 0.02), ("same", 0.001), ("improved", -0.05)])
def test_a_duet_has_the_last_word(outcome: str, change: float) -> None:
    found = verdict(judge(night({CASE: 0.02}), duet(outcome, change)))
    assert (found.outcome, found.confirmed_by, found.change) == (outcome, "duet", change)
    assert found.why == "9 pairs of old and new side by side"


def test_a_duet_that_failed_leaves_a_suspect() -> None:
    found = verdict(judge(night({CASE: 0.10}), duet(None, reason="the old provider did not start")))
    assert (found.outcome, found.why, found.confirmed_by) == ("suspect", "the old provider did not start", None)


def test_a_duet_of_a_case_with_itself_says_nothing_of_the_case() -> None:
    itself = duet("regressed", 0.10).replace(how="self")
    assert verdict(judge(night(), itself)).outcome == "same"


def test_fresh_processes_confirm_a_large_slowdown() -> None:
    judged = judge(night({CASE: 0.10}), rerun(0.10))
    found = verdict(judged)
    assert (found.outcome, found.confirmed_by, judged.code()) == ("regressed", "rerun", 1)
    assert found.why == "repeated in 3 fresh processes"


def test_fresh_processes_refute_an_accident() -> None:
    judged = judge(night({CASE: 0.10}), rerun(0.002))
    assert (verdict(judged).outcome, judged.code()) == ("same", 0)
    assert verdict(judged).why == "10.5 % longer at first, which did not repeat in fresh processes"


def test_a_small_slowdown_must_repeat_the_next_night() -> None:
    run = night({CASE: 0.024})
    first = verdict(judge(run, rerun(0.024)))
    assert first.outcome == "suspect"
    assert first.why is not None and first.why.endswith("to be sure it must repeat the next night, or meet an old provider")
    waiting = taken(STEADY, run, 15, rerun(0.024))
    assert waiting.entries[planned(CASE).identity].pending is not None
    second = judge(run, rerun(0.024), baseline=waiting)
    assert (verdict(second).outcome, verdict(second).why, second.code()) == ("regressed", "repeated, as on 2026-11-16", 1)


def test_a_small_slowdown_that_went_away_is_forgotten() -> None:
    waiting = taken(STEADY, night({CASE: 0.024}), 15, rerun(0.024))
    quiet = taken(waiting, night(), 16)
    assert quiet.entries[planned(CASE).identity].pending is None
    assert verdict(judge(night({CASE: 0.024}), rerun(0.024), baseline=quiet)).outcome == "suspect"


def test_a_speed_the_window_knows_is_no_alarm_without_an_old_provider() -> None:
    baseline = Baseline(source="baselines/toy", hardware="toy")
    for number, wobble in enumerate(WOBBLE):
        run = night({CASE: 0.05 if number in (3, 7, 11) else 0.0}, wobble)
        baseline = taken(baseline, run, number, duet("same", 0.0))
    assert verdict(judge(night({CASE: 0.05}), rerun(0.05), baseline=baseline)).outcome == "suspect"
    assert verdict(judge(night({CASE: 0.05}), rerun(0.05))).outcome == "regressed"


def test_processes_that_failed_leave_a_suspect() -> None:
    found = verdict(judge(night({CASE: 0.10}), rerun(None)))
    assert (found.outcome, found.why) == ("suspect", "10.5 % longer, the process ended early")


# -- what must not change a verdict -------------------------------------------------------------------------------------------

#: Changes of a night from harmless to gross, in ln T.
CHANGES = st.lists(st.sampled_from([-0.1, -0.02, 0.0, 0.003, 0.02, 0.045, 0.1]), min_size=len(TIMES), max_size=len(TIMES))


def outcomes(judged: Judgement, name: Callable[[Planned], str] = lambda case: case.identity) -> dict[str, str]:
    return {name(one.case): one.outcome for one in judged.verdicts}


def changed(changes: Sequence[float]) -> list[Measurement]:
    return night(dict(zip(TIMES, changes, strict=True)))


@given(CHANGES, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_cases_changes_nothing(changes: list[float], random: Any) -> None:
    run = changed(changes)
    shuffled = random.sample(run, len(run))
    entries = random.sample(list(STEADY.entries.items()), len(STEADY.entries))
    assert outcomes(judge(shuffled, baseline=STEADY.replace(entries=dict(entries)))) == outcomes(judge(run))


@given(CHANGES)
@settings(max_examples=25, deadline=None)
def test_a_case_that_is_there_twice_changes_nothing(changes: list[float]) -> None:
    run = changed(changes)
    for twice in run:
        assert outcomes(judge([*run, twice])) == outcomes(judge(run))


@given(CHANGES)
@settings(max_examples=25, deadline=None)
def test_labels_change_nothing(changes: list[float]) -> None:
    run = changed(changes)
    renamed = [one.replace(case=one.case.replace(label=f"now {place}", where="b:2")) for place, one in enumerate(run)]
    assert outcomes(judge(renamed)) == outcomes(judge(run))


@given(CHANGES)
@settings(max_examples=25, deadline=None)
def test_names_of_operators_and_providers_change_nothing(changes: list[float]) -> None:
    names = {"gelu": "z_gelu", "rms_norm": "a_norm", "torch": "zzz", "triton": "aaa"}
    entries = [one.replace(operator=names[one.operator], provider=names[one.provider]) for one in STEADY.entries.values()]
    baseline = STEADY.replace(entries={one.identity: one for one in entries})
    run = changed(changes)
    renamed = [
        one.replace(case=one.case.replace(operator=names[one.case.operator], provider=names[one.case.provider])) for one in run
    ]

    def name(case: Planned) -> str:
        return case.replace(operator=names[case.operator], provider=names[case.provider]).identity

    assert outcomes(judge(renamed, baseline=baseline)) == outcomes(judge(run), name)


@given(CHANGES)
@settings(max_examples=25, deadline=None)
def test_a_machine_twice_as_slow_all_along_changes_nothing(changes: list[float]) -> None:
    run = changed(changes)
    entries = {
        name: one.replace(
            t_sol=2 * one.t_sol,
            golden=one.golden and one.golden.replace(seconds=2 * one.golden.seconds),
            window=tuple(
                night.replace(
                    passes=tuple(2 * seconds for seconds in night.passes),
                    low=2 * night.low,
                    high=2 * night.high,
                    anchor=2 * night.anchor,
                    anchors=doubled(night.anchors),
                )
                for night in one.window
            ),
        )
        for name, one in STEADY.entries.items()
    }
    slow = [one.replace(time=twice(one.time), anchors=doubled(ANCHORS)) for one in run]
    assert outcomes(judge(slow, baseline=STEADY.replace(entries=entries))) == outcomes(judge(run))


def doubled(anchors: Anchors) -> Anchors:
    return anchors.replace(
        copy_seconds=2 * anchors.copy_seconds,
        compute_seconds=2 * anchors.compute_seconds,
        launch_seconds=2 * anchors.launch_seconds,
    )


def twice(time: Estimate | None) -> Estimate:
    assert time is not None
    return time.replace(median=2 * time.median, low=2 * time.low, high=2 * time.high)
