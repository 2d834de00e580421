"""Which nights enter a baseline, and how its bar moves."""

from math import exp, log
from typing import Any

import pytest
from gated import (
    ENVIRONMENT,
    LIMITS,
    NEW_DRIVER,
    USUAL,
    accepted,
    baseline,
    by_duet,
    by_rerun,
    case,
    day,
    entry,
    header,
    in_environment,
    judged,
    measured,
    night,
    one_verdict,
)
from hypothesis import given
from hypothesis import strategies as st

from pytest_dsbench.gate.accepting import Acceptance, accept
from pytest_dsbench.gate.baseline import Baseline, Entry
from pytest_dsbench.gate.nights import tonight
from pytest_dsbench.stats import mad_scale
from pytest_dsbench.verdict import Confirmation

NAME = "rms_norm[tokens8-hidden64] triton"
ASK = 'a reason accepts it, such as --dsbench-save="driver 580"'


def level(one: Entry) -> float:
    """ln of what the baseline holds the case to, over the 10 us of the builders."""
    return log(one.seconds / 1e-5)


def only(taken: Acceptance) -> Entry:
    (found,) = taken.baseline.entries.values()
    return found


def slower(change: float, **more: Any) -> Any:
    return measured(1e-5 * exp(change), **more)


# -- nights as usual ----------------------------------------------------------------------------------------------------------


def test_a_new_case() -> None:
    taken = accepted(baseline(entry(tokens=64)), [measured()])
    found = taken.baseline.entries[case().identity]
    assert (taken.new, taken.accepted, taken.moved, taken.left, taken.operators) == (1, 0, (), (), ("rms_norm",))
    assert len(found.window) == 1 and found.golden is None and found.window[0].at == day(30)
    assert taken.baseline.entries[case(64).identity] == entry(tokens=64)


def test_a_night_as_usual_joins() -> None:
    before = entry(pending=night(8, 1.2e-5))
    taken = accepted(baseline(before), [measured()])
    assert (taken.new, taken.accepted, taken.moved, taken.left, taken.operators) == (0, 1, (), (), ("rms_norm",))
    found = only(taken)
    # What was suspected the night before was not there again: it was a night like any other, and belongs to the scatter.
    assert found.window[:-1] == (*before.window, before.pending) and found.window[-1].at == day(30)
    assert found.pending is None and found.golden == before.golden and found.notes == ()


def test_what_may_change_from_night_to_night() -> None:
    renamed = measured(t_sol=7.9e-6)
    renamed = renamed.replace(case=renamed.case.replace(label="eight", bench="benches/other.py::bench_it"))
    found = only(accepted(baseline(entry()), [renamed]))
    assert (found.label, found.bench, found.t_sol) == ("eight", "benches/other.py::bench_it", 7.9e-6)
    assert found.window[:-1] == entry().window


def test_the_window_is_cut_at_its_length() -> None:
    before = entry(3 * USUAL)
    taken = accepted(baseline(before), [measured()])
    assert only(taken).window[:-1] == before.window[1:] and only(taken).window[-1].at == day(30)


def test_golden_as_soon_as_there_are_nights_enough() -> None:
    stored, times = baseline(), [1.00e-5, 1.02e-5, 1.01e-5, 1.03e-5, 0.99e-5, 1.00e-5]
    goldens = []
    for number, seconds in enumerate(times):
        taken = accepted(stored, [measured(seconds)], number)
        stored = taken.baseline
        goldens.append(only(taken).golden)
    assert goldens[:4] == [None] * 4
    assert goldens[4] is not None and goldens[5] == goldens[4]
    assert (goldens[4].at, goldens[4].seconds) == (day(4), 1.01e-5)
    assert goldens[4].level == pytest.approx(log(1.01e-5 / 1e-4))


def test_creep_adds_up() -> None:
    stored, creeps = baseline(entry(USUAL * 2, creep=0.25)), []
    for number in range(30, 33):
        t = one_verdict(stored, slower(0.005), number).t_golden
        taken = accepted(stored, [slower(0.005)], number)
        assert t is not None and t > 1 and taken.accepted == 1
        creeps.append((only(taken).creep, t))
        stored = taken.baseline
    totals = [0.25, *(total for total, _ in creeps)]
    assert [total for total, _ in creeps] == pytest.approx(
        [before + t - LIMITS.creep_k for before, (_, t) in zip(totals, creeps, strict=False)]
    )
    assert only(accepted(stored, [slower(-0.002)], 40)).creep < stored.entries[case().identity].creep


def test_what_crept_is_found_and_not_accepted() -> None:
    """Each step is too small to be seen; together they are not."""
    stored, said = baseline(entry(USUAL * 3)), []
    for number in range(30, 60):
        taken = accepted(stored, [slower(0.0015 * (number - 29))], number)
        stored, said = taken.baseline, [*said, *taken.left]
    assert any("crept" in one and "than the golden entry of 2026-11-01" in one for one in said)
    assert level(only(Acceptance(baseline=stored))) < 0.03


def test_a_night_is_taken_only_once() -> None:
    taken = accepted(baseline(entry()), [measured()])
    again = accepted(taken.baseline, [measured()])
    assert (again.accepted, again.operators, again.baseline.entries) == (0, (), taken.baseline.entries)
    assert again.left == (f"{NAME}: this night is in the window already (2026-12-01T03:00:00)",)
    assert not again.reason_wanted


# -- the bar moves ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "confirmation", "reason"),
    [
        (-0.08, by_duet(-0.08, "improved"), None),
        (-0.08, by_rerun(-0.08, -0.0801, -0.0799), "triton 3.6"),
        (-0.08, None, "triton 3.6"),
        (0.08, by_duet(0.08, "regressed"), "driver 580"),
        (0.08, by_rerun(0.08, 0.0801, 0.0799), "driver 580"),
        (0.08, None, "driver 580"),
        # A suspect: neither large nor refuted.
        (0.025, None, "driver 580"),
        # The night itself was an accident within the change.
        (0.30, by_rerun(0.08, 0.081, 0.079), "driver 580"),
    ],
)
def test_a_bar_that_moves(change: float, confirmation: Confirmation | None, reason: str | None) -> None:
    before = entry(USUAL * 2, creep=3.0, pending=night(8), notes=("2026-10-01: first",))
    taken = accepted(baseline(before), [slower(change)], reason=reason, confirmations=[confirmation] if confirmation else [])
    step = 0.08 if change == 0.30 else change
    found = only(taken)
    old = found.window[: len(before.window)]
    assert [one.replace(shift=0.0) for one in old] == list(before.window)
    assert [one.shift for one in old] == pytest.approx([step] * len(old), abs=1e-5)
    # As wide as it was, about the new level.
    assert mad_scale([one.level for one in old]) == pytest.approx(mad_scale([one.level for one in before.window]))
    assert found.level - before.level == pytest.approx(step, abs=2e-4)
    assert level(found) == pytest.approx(step, abs=2e-4)
    assert (found.window[-1].at, found.window[-1].shift) == (day(30), 0.0)
    assert found.golden is not None and (found.golden.at, found.golden.level) == (day(30), pytest.approx(found.level))
    assert (found.creep, found.pending) == (0.0, None)
    word = f"{100 * abs(exp(step) - 1):.1f} % {'longer' if step > 0 else 'less'} than before"
    text = f"the bar is moved, {word}: {reason}" if change > 0 else f"the bar is raised, {word}"
    assert found.notes == ("2026-10-01: first", f"2026-12-01: {text}")
    assert taken.moved == (f"{NAME}: {text}",) and taken.left == () and taken.accepted == 1


def test_a_bar_that_moves_twice() -> None:
    stored = baseline(entry(USUAL * 2))
    for number, change in ((30, 0.08), (31, 0.16)):
        stored = accepted(stored, [slower(change)], number, reason="again").baseline
    (found,) = stored.entries.values()
    assert [one.shift for one in found.window] == pytest.approx([0.16] * 10 + [0.08, 0.0], abs=1e-3)
    assert level(found) == pytest.approx(0.16, abs=1e-3) and len(found.notes) == 2


def test_a_case_that_learns_has_no_golden_entry_when_its_bar_moves() -> None:
    taken = accepted(baseline(entry(USUAL[:3], golden=None)), [slower(0.5)], reason="driver 580")
    assert only(taken).golden is None and only(taken).notes
    assert level(only(taken)) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("confirmations", [(), (by_rerun(0.025, 0.0251, 0.0249),)])
def test_what_crept_moves_the_bar_by_what_the_window_lacks(confirmations: tuple[Confirmation, ...]) -> None:
    """The change is told against the golden entry; most of it is in the window already."""
    before = entry([0.02 + one for one in USUAL * 2], creep=50.0)
    assert "crept" in (one_verdict(baseline(before), slower(0.025)).why or "")
    taken = accepted(baseline(before), [slower(0.025)], reason="it is so", confirmations=confirmations)
    assert level(only(taken)) == pytest.approx(0.025, abs=2e-4)
    assert one_verdict(taken.baseline, slower(0.025), 31).outcome == "same"


@given(
    change=st.one_of(st.floats(0.03, 0.7), st.floats(-0.7, -0.03)),
    window=st.lists(st.floats(-0.004, 0.004), min_size=5, max_size=20),
    how=st.sampled_from(["duet", "rerun", "none"]),
    drift=st.floats(-0.002, 0.002),
)
def test_the_next_night_at_the_new_level_is_the_same(change: float, window: list[float], how: str, drift: float) -> None:
    before = entry(window)
    outcome = "regressed" if change > 0 else "improved"
    confirmations = {"duet": [by_duet(change, outcome)], "rerun": [by_rerun(change, change, change)], "none": []}[how]
    stored = baseline(before)
    middle = level(before) if how == "duet" else 0.0
    taken = accepted(stored, [slower(middle + change)], 30, "driver 580", confirmations)
    if not taken.moved:
        # Nothing was moved only where nothing stood out.
        assert one_verdict(stored, slower(middle + change), 30, *confirmations).outcome in ("same", "unstable")
        return
    assert one_verdict(taken.baseline, slower(middle + change + drift), 31).outcome == "same"


# -- what is not taken --------------------------------------------------------------------------------------------------------


def test_a_regression_is_kept_aside_without_a_reason() -> None:
    before = entry(USUAL * 2)
    taken = accepted(baseline(before), [slower(0.08)], confirmations=[by_duet(0.08, "regressed")])
    # What a duet has seen is no accident, and never joins; what fresh processes have seen might be one.
    assert only(taken) == before
    assert taken.left == (f"{NAME}: regressed, 8.3 % longer than before, not accepted; {ASK}",)
    assert (taken.accepted, taken.new, taken.moved, taken.operators) == (0, 0, (), ())
    assert taken.reason_wanted
    alone = only(accepted(baseline(before), [slower(0.08)], confirmations=[by_rerun(0.08, 0.0801, 0.0799)]))
    assert alone.pending is not None and alone == before.replace(pending=alone.pending)


@pytest.mark.parametrize("confirmations", [(), (by_rerun(-0.08, -0.0801, -0.0799),)])
def test_without_an_old_provider_the_bar_follows_night_by_night(confirmations: tuple[Confirmation, ...]) -> None:
    before = entry(USUAL * 2)
    stored, levels = baseline(before), []
    for number in range(30, 30 + len(before.window) + 2):
        taken = accepted(stored, [slower(-0.08)], number, confirmations=confirmations)
        stored = taken.baseline
        levels.append(level(only(taken)))
        assert (taken.accepted, taken.moved, taken.left) == (1, (), ())
    assert levels[0] == pytest.approx(0.0, abs=2e-3) and levels[-1] == pytest.approx(-0.08, abs=1e-3)
    assert not any(one.shift for one in only(taken).window)


def test_a_suspect_is_kept_aside_without_a_reason() -> None:
    taken = accepted(baseline(entry(USUAL * 2)), [slower(0.025)])
    assert only(taken).pending is not None and only(taken).window == entry(USUAL * 2).window
    assert taken.left == (f"{NAME}: suspect, not accepted: 2.5 % longer, not confirmed; {ASK}",)


def test_a_slight_suspicion_joins() -> None:
    """Where all cases move by half a per cent that is unusual, and too little to be confirmed: left out, it would be suspected
    for ever."""
    sizes = range(1, 9)
    stored = baseline(*(entry(USUAL * 2, tokens=size) for size in sizes))
    run = [slower(0.005, tokens=size) for size in sizes]
    verdicts = judged(stored, tonight(run, header(30))).verdicts
    assert {(one.outcome, one.why) for one in verdicts} == {("suspect", "0.5 % longer, not confirmed")}
    taken = accepted(stored, run)
    assert (taken.accepted, taken.left) == (8, ())
    assert {len(one.window) for one in taken.baseline.entries.values()} == {11}
    # Where the old provider was asked and could not tell, it does not.
    taken = accepted(stored, run, confirmations=[by_duet(0.012, "unclear")])
    assert (taken.accepted, len(taken.left)) == (7, 1)
    # Of fewer cases, nothing is unusual that is so small.
    assert one_verdict(baseline(entry(USUAL * 2)), slower(0.005)).outcome == "same"


def test_a_suspicion_that_repeats_the_next_night_is_a_regression() -> None:
    again = [by_rerun(0.022, 0.022, 0.022)]
    taken = accepted(baseline(entry(USUAL * 2)), [slower(0.022)], 30, confirmations=again)
    assert "the next night" in taken.left[0]
    verdict = one_verdict(taken.baseline, slower(0.022), 31, *again)
    assert (verdict.outcome, verdict.why) == ("regressed", "repeated, as on 2026-12-01")


def test_a_run_that_is_judged_again_does_not_repeat_itself() -> None:
    again = [by_rerun(0.022, 0.022, 0.022)]
    taken = accepted(baseline(entry(USUAL * 2)), [slower(0.022)], 30, confirmations=again)
    assert one_verdict(taken.baseline, slower(0.022), 30, *again).outcome == "suspect"
    # With a reason it may still be taken.
    assert accepted(taken.baseline, [slower(0.022)], 30, "driver 580", again).moved


@pytest.mark.parametrize("pending", [0.08, -0.001])
def test_an_improvement_after_something_else(pending: float) -> None:
    stored = baseline(entry(USUAL * 2, pending=night(29, 1e-5 * exp(pending))))
    assert accepted(stored, [slower(-0.08)]).moved == ()


def test_another_environment_is_refused_without_a_reason() -> None:
    before = baseline(entry())
    taken = accepted(before, [measured()], now=NEW_DRIVER)
    assert taken.baseline.entries == before.entries and taken.operators == ()
    assert taken.left == (f"{NAME}: not accepted: the baseline is of another environment: driver 570.86 -> 580.65; {ASK}",)
    assert taken.reason_wanted


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mode": "graph"}, "timed by graph here, events in the baseline"),
        ({"cold": False}, "cold caches False here, True in the baseline"),
        ({"protocol": 2}, "timing protocol 2 here, 1 in the baseline"),
    ],
)
def test_another_way_of_timing_is_refused(changes: dict[str, Any], word: str) -> None:
    taken = accepted(baseline(entry()), [measured(**changes)])
    assert word in taken.left[0] and taken.operators == ()


def test_another_environment_begins_again_with_a_reason() -> None:
    before = entry(creep=2.0, pending=night(8), notes=("2026-10-01: first",))
    taken = accepted(baseline(before), [measured(2e-5)], reason="driver 580", now=NEW_DRIVER)
    found = only(taken)
    assert len(found.window) == 1 and found.window[0].passes == (2e-5,) and found.key == NEW_DRIVER.key()
    assert (found.golden, found.creep, found.pending) == (None, 0.0, None)
    said = "begins again: driver 580 (the baseline is of another environment: driver 570.86 -> 580.65)"
    assert found.notes == ("2026-10-01: first", f"2026-12-01: {said}")
    assert taken.moved == (f"{NAME}: {said}",)
    assert taken.baseline.environments == {ENVIRONMENT.key(): ENVIRONMENT, NEW_DRIVER.key(): NEW_DRIVER}
    assert one_verdict(taken.baseline, measured(2e-5), 31).outcome == "environment"


@pytest.mark.parametrize("status", ["failed", "skipped", "invalid", "checked", "noisy_host", "throttled", "crashed", "timed_out"])
@pytest.mark.parametrize("reason", [None, "driver 580"])
@pytest.mark.parametrize("stored", [baseline(), baseline(entry())])
def test_nothing_is_taken_from_a_case_without_a_good_time(status: Any, reason: str | None, stored: Baseline) -> None:
    taken = accepted(stored, [measured(status=status)], reason=reason)
    assert (taken.baseline.entries, taken.operators, taken.new, taken.accepted) == (stored.entries, (), 0, 0)


def test_nothing_is_taken_where_the_duet_found_a_wrong_result() -> None:
    taken = accepted(baseline(entry()), [slower(0.08)], reason="driver 580", confirmations=[by_duet(0.08, "invalid")])
    assert taken.left == (f"{NAME}: not accepted: invalid",) and taken.operators == ()


def test_nothing_is_taken_where_the_machine_moved() -> None:
    anchors = measured().anchors
    assert anchors is not None
    slow = measured(1.5e-5, anchors=anchors.replace(copy_seconds=1.2e-4))
    taken = accepted(baseline(entry()), [slow])
    assert "the memory anchor takes 20.0 % longer" in taken.left[0] and taken.operators == ()


def test_a_case_that_is_missing_stays() -> None:
    stored = baseline(entry(), entry(tokens=64))
    assert accepted(stored, [measured()]).baseline.entries[case(64).identity] == entry(tokens=64)


def test_only_what_changed_is_written() -> None:
    stored = baseline(entry(), entry(operator="layer_norm"))
    taken = accepted(stored, [measured(), measured(operator="layer_norm", status="noisy_host")])
    assert taken.operators == ("rms_norm",)


def test_the_bound_that_changes_sides_keeps_its_anchor() -> None:
    """At the ridge a new T_SOL may be bound by the other side; the window goes on with the anchor it has."""
    found = only(accepted(baseline(entry()), [measured(by="compute")]))
    assert found.by == "memory" and found.window[-1].anchor == entry().window[0].anchor


def test_the_environment_of_a_run_is_kept_with_its_first_entry() -> None:
    now = [*in_environment([measured()], NEW_DRIVER)]
    found = tonight(now, header(30, NEW_DRIVER))
    empty = baseline(environments={})
    verdicts = {one.case.identity: one for one in judged(empty, found, now=NEW_DRIVER).verdicts}
    taken = accept(empty, found, verdicts, NEW_DRIVER, LIMITS)
    assert taken.baseline.environments == {NEW_DRIVER.key(): NEW_DRIVER}
