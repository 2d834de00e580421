"""A run in the form the gate judges: passes put together, anchors interpolated in time."""

from math import exp, log
from typing import Any

import pytest
from gated import ANCHORS, BEGAN, ENVIRONMENT, NEW_DRIVER, case, day, header, judged, measured
from gated import baseline as stored
from hypothesis import given
from hypothesis import strategies as st

from pytest_dsbench.anchors import Anchors
from pytest_dsbench.environment import Environment
from pytest_dsbench.gate.nights import Tonight, entry, interpolated, of_run, tonight
from pytest_dsbench.measurement import Measurement
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.runs import Run


def only(*measurements: Measurement) -> Tonight:
    (found,) = tonight(measurements, header(3))
    return found


def anchors(copy: float = 1e-4, compute: float = 6e-4, kind: str = "triton fma") -> Anchors:
    return Anchors(copy_seconds=copy, compute_seconds=compute, launch_seconds=2e-6, compute_kind=kind)


def test_what_is_known_of_a_night() -> None:
    found = only(measured(1.1e-5, cold=False, protocol=2, environment="abc"))
    assert found.replace(night=None) == Tonight(
        case=case(), status="passed", key="abc", mode="events", cold=False, protocol=2, t_sol=8e-6, by="compute"
    )
    night = found.night
    assert night is not None and (night.at, night.commit, night.passes) == (day(3), "0123456789ab", (1.1e-5,))
    assert (night.low, night.high, night.packages) == (1.0989e-5, 1.1011e-5, {"triton": "3.5.0"})
    # The roof of this case is memory, and from a warm cache memory does not bind.
    assert (night.anchors, night.anchor, night.shift) == (ANCHORS, ANCHORS.compute_seconds, 0.0)
    assert night.level == pytest.approx(log(1.1e-5 / 6e-4))
    cold = only(measured(1.1e-5)).night
    assert cold is not None and cold.anchor == ANCHORS.copy_seconds


def test_the_key_of_the_run_where_a_case_has_none() -> None:
    assert only(measured(environment=None)).key == ENVIRONMENT.key()


def test_a_run_outside_a_repository() -> None:
    (found,) = tonight([measured()], header(environment=Environment(device="cpu")))
    assert found.night is not None and found.night.commit is None


def test_passes_are_put_together() -> None:
    times = (1.0e-5, 1.3e-5, 1.1e-5)
    found = only(*(measured(seconds, at=BEGAN + number) for number, seconds in enumerate(times)))
    assert found.night is not None
    assert found.night.passes == times and found.night.seconds == 1.1e-5
    assert found.night.high == 1.001e-5  # of the first
    assert found.night.level == pytest.approx(log(1.1e-5 / 1e-4))


def test_cases_and_providers_are_kept_apart() -> None:
    lines = [measured(tokens=8), measured(tokens=64), measured(tokens=8, provider="torch"), measured(tokens=64)]
    found = tonight(lines, header())
    assert [one.case for one in found] == [case(8), case(64), case(8, "torch")]
    assert [len(one.night.passes) for one in found if one.night] == [1, 2, 1]


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        ("passed noisy_host passed", "noisy_host"),
        ("noisy_host throttled", "throttled"),
        ("throttled timed_out passed", "timed_out"),
        ("timed_out crashed", "crashed"),
        ("crashed failed", "failed"),
        ("passed failed invalid", "invalid"),
        ("skipped checked", "skipped"),
    ],
)
def test_the_worst_status_of_the_passes(statuses: Any, worst: str) -> None:
    found = only(*(measured(status=one, reason=f"because {one}") for one in statuses.split()))
    assert (found.status, found.reason, found.night) == (worst, f"because {worst}", None)


def test_a_pass_that_was_skipped_takes_nothing_from_the_others() -> None:
    found = only(measured(status="skipped", reason="too large"), measured(1.2e-5), measured(status="checked"))
    assert found.status == "passed" and found.night is not None and found.night.passes == (1.2e-5,)


@pytest.mark.parametrize("field", ["anchors", "at"])
def test_a_run_without_anchors_is_not_judged_and_says_so(field: str) -> None:
    found = tonight([measured().replace(**{field: None})], header())
    assert found[0].night is None
    (verdict,) = judged(stored(), found).verdicts
    assert verdict.outcome == "not_run" and "took no anchors" in (verdict.why or "")


def test_a_case_without_a_bound_has_no_night() -> None:
    assert only(measured(bound=None)).night is None
    assert only(measured(None, status="passed")).night is None


# -- anchors in time ----------------------------------------------------------------------------------------------------------

COURSE = [(10.0, anchors(1e-4)), (20.0, anchors(4e-4)), (40.0, anchors(1e-4))]


@pytest.mark.parametrize(
    ("at", "expected"),
    [(0.0, 1e-4), (10.0, 1e-4), (15.0, 2e-4), (20.0, 4e-4), (30.0, 2e-4), (40.0, 1e-4), (99.0, 1e-4)],
)
def test_interpolated_in_proportion_of_the_logarithm(at: float, expected: float) -> None:
    assert interpolated(COURSE, at, "memory") == pytest.approx(expected, rel=1e-12)
    assert interpolated(COURSE, at, "compute") == pytest.approx(6e-4, rel=1e-12)


def test_of_a_single_anchor() -> None:
    assert interpolated(COURSE[:1], 99.0, "memory") == pytest.approx(1e-4, rel=1e-12)


times = st.floats(1e-7, 1.0)


@given(
    course=st.lists(st.tuples(st.floats(0, 1e9), times, times), min_size=1, max_size=6, unique_by=lambda one: one[0]).map(sorted),
    at=st.floats(-1e9, 2e9),
    by=st.sampled_from(["memory", "compute"]),
)
def test_between_its_neighbours(course: list[tuple[float, float, float]], at: float, by: str) -> None:
    points = [(when, anchors(copy, compute)) for when, copy, compute in course]
    found = interpolated(points, at, by)
    before = [one.of(by) for when, one in points if when <= at][-1:]
    after = [one.of(by) for when, one in points if when > at][:1]
    neighbours = before + after
    assert min(neighbours) * (1 - 1e-9) <= found <= max(neighbours) * (1 + 1e-9)


def test_where_what_computes_changed_the_anchor_before_holds() -> None:
    """Half way between a loop and a matmul there is nothing."""
    course = [(0.0, anchors(compute=6e-4)), (10.0, anchors(compute=2e-4, kind="torch matmul"))]
    assert interpolated(course, 9.0, "compute") == 6e-4
    assert interpolated(course, 10.0, "compute") == pytest.approx(2e-4)


def test_a_case_between_two_anchors() -> None:
    """The anchors were taken when the first case came that carries them, whatever the order of the lines."""
    first, second = anchors(1e-4), anchors(4e-4)
    lines = [
        measured(tokens=3, at=BEGAN + 40, anchors=second),
        measured(tokens=2, at=BEGAN + 20, anchors=first),
        measured(tokens=1, at=BEGAN, anchors=first),
    ]
    found = {one.case.dims["tokens"]: one.night for one in tonight(lines, header())}
    assert [found[tokens] and found[tokens].anchor for tokens in (1, 2, 3)] == [1e-4, 2e-4, 4e-4]
    assert found[2] is not None and found[2].anchors == first


def test_the_anchor_of_the_bound() -> None:
    found = only(measured(by="compute", anchors=anchors(1e-4, 5e-4)))
    assert found.night is not None and (found.by, found.night.anchor) == ("compute", 5e-4)


def test_a_slow_machine_leaves_the_level_where_it_was() -> None:
    usual, slow = only(measured(1e-5)), only(measured(1.3e-5, anchors=anchors(1.3e-4)))
    assert usual.night is not None and slow.night is not None
    assert slow.night.level == pytest.approx(usual.night.level, abs=1e-5)


# -- a run in the place of a history ------------------------------------------------------------------------------------------


def test_of_run() -> None:
    lines = (measured(8.123456e-6), measured(tokens=64), measured(tokens=512, status="failed"))
    run = Run(path="runs/a.jsonl", header=header(2), measurements=lines, end=None, complaints=("runs/a.jsonl:9: x",))
    found = of_run(run)
    assert (found.source, found.hardware, found.history) == ("runs/a.jsonl", "h200", False)
    assert found.complaints == run.complaints and found.environments == {ENVIRONMENT.key(): ENVIRONMENT}
    assert [one.dims["tokens"] for one in found.entries.values()] == [8, 64]
    one = found.entries[case().identity]
    assert one.seconds == pytest.approx(8.12346e-6) and one.window[0].at == day(2) and one.golden is None
    assert one == entry(tonight(lines, header(2))[0])
    assert one.case == case().replace(where="")


def test_of_run_without_its_first_line() -> None:
    with pytest.raises(Mistake, match="^x: the first line of the run is lost, and with it where it was measured$"):
        of_run(Run(path="x", header=None, measurements=(measured(),), end=None))


def test_two_runs_of_other_environments() -> None:
    then = of_run(Run(path="x", header=header(1), measurements=(measured(),), end=None))
    now = tonight([measured(environment=NEW_DRIVER.key())], header(2, NEW_DRIVER))
    (verdict,) = judged(then, now, now=NEW_DRIVER).verdicts
    assert verdict.outcome == "environment"
    assert verdict.why == "the baseline is of another environment: driver 570.86 -> 580.65"


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=9))
def test_the_median_of_the_passes(moves: list[float]) -> None:
    found = only(*(measured(1e-5 * exp(move)) for move in moves))
    assert found.night is not None
    assert min(moves) - 1e-5 <= log(found.night.seconds / 1e-5) <= max(moves) + 1e-5
