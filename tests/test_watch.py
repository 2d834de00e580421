"""The gate in a live run: what is measured again, and when it is not."""

import inspect
from collections.abc import Sequence
from math import exp, log
from random import Random

import pytest
from gated import ANCHORS, ENVIRONMENT, USUAL, baseline, by_duet, by_rerun, entry, header, measured, one_verdict

from pytest_dsbench.clock import Mode
from pytest_dsbench.duet.load import Stand
from pytest_dsbench.fixture import Dsbench
from pytest_dsbench.gate.judge import Gate
from pytest_dsbench.gate.watch import Watch
from pytest_dsbench.measurement import Planned
from pytest_dsbench.options import Options
from pytest_dsbench.runs import Coverage
from pytest_dsbench.thresholds import Thresholds
from pytest_dsbench.verdict import Confirmation

#: A case that scatters by several per cent: 4 % more is nothing unusual.
UNSTEADY = [0.0, 0.05, -0.05, 0.04, -0.04, 0.06, -0.06, 0.05, -0.05, 0.0]


class Asked:
    """Notes who was to be measured again, and says that nothing changed."""

    def __init__(self) -> None:
        self.cases: list[str] = []

    def confirm(self, case: Planned, mode: Mode | None, by: str) -> Confirmation:
        self.cases.append(case.label)
        return by_duet(0.0, "same").replace(case=case)

    def check(self, case: Planned, mode: Mode | None) -> Confirmation:
        raise AssertionError("no self-check was asked for")


def asked(change: float, levels: Sequence[float], creep: float = 0.0, **options: object) -> int:
    """How often a case that moved so far is measured again."""
    confirmer = Asked()
    given = Options(**{"compare": "", **options})  # type: ignore[arg-type]
    stored = baseline(entry(levels, creep=creep))
    watch = Watch(Gate(stored, given.limits, ENVIRONMENT), header, confirmer, given, Random(1))
    watch.see(measured(1e-5 * exp(change)))
    return len(confirmer.cases)


@pytest.mark.parametrize(
    ("change", "levels", "options", "times"),
    [
        (0.08, USUAL * 2, {}, 1),
        (0.001, USUAL * 2, {}, 0),
        # What got faster is confirmed only where it would raise the bar.
        (-0.08, USUAL * 2, {}, 0),
        (-0.08, USUAL * 2, {"save": ""}, 1),
        # Nothing unusual, and yet the old provider is asked, where there is one.
        (0.04, UNSTEADY, {}, 0),
        (0.04, UNSTEADY, {"old": "HEAD"}, 1),
        (0.02, UNSTEADY, {"old": "HEAD"}, 0),
        (0.08, USUAL * 2, {"limits": Thresholds(confirmations=0)}, 0),
    ],
)
def test_what_is_measured_again(change: float, levels: Sequence[float], options: dict[str, object], times: int) -> None:
    assert asked(change, levels, **options) == times


@pytest.mark.parametrize(("above", "times"), [(0.04, 1), (0.0, 0)])
def test_what_crept_is_measured_again_although_tonight_is_faster_than_the_window(above: float, times: int) -> None:
    """`above`: how far the window is above the golden level."""
    assert asked(above - 0.002, [above + one for one in USUAL * 2], creep=50.0) == times


def test_a_duet_needs_no_anchor() -> None:
    """The machine got slower, and the new kernel is slower than the old one on it all the same."""
    slow = measured(1.5e-5, anchors=ANCHORS.replace(copy_seconds=2 * ANCHORS.copy_seconds))
    stored = baseline(entry(USUAL * 2))
    assert one_verdict(stored, slow).outcome == "environment"
    found = one_verdict(stored, slow, 30, by_duet(log(1.1), "regressed"))
    assert (found.outcome, found.change) == ("regressed", pytest.approx(log(1.1)))


def test_what_crept_is_confirmed_against_the_golden_entry() -> None:
    """Tonight is faster than the window, and both are far above the golden level."""
    crept = baseline(entry([0.04 + one for one in USUAL * 2], creep=50.0))
    tonight = measured(1e-5 * exp(0.038))
    assert (one_verdict(crept, tonight).outcome, one_verdict(crept, tonight).change) == (
        "suspect",
        pytest.approx(-0.002, abs=5e-4),
    )
    found = one_verdict(crept, tonight, 30, by_rerun(0.038, 0.0381, 0.0379))
    assert (found.outcome, found.change) == ("regressed", pytest.approx(0.038, abs=5e-4))


def test_providers_that_run_only_when_they_are_named_are_not_missed() -> None:
    everything = Coverage(paths=("",), opt_in=("torch_compile",))
    assert everything.holds("gelu", "triton", "benches/a.py::b") and not everything.holds("gelu", "torch_compile", "")
    assert everything.replace(providers=("torch_compile",)).holds("gelu", "torch_compile", "")


def test_a_bench_by_hand_is_called_alike_in_a_duet() -> None:
    assert inspect.signature(Stand.__call__) == inspect.signature(Dsbench.__call__)
