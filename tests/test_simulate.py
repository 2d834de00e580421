"""The simulation: what the gate reaches on few nights, with loose bounds, and its parts against simpler ways to compute them."""

from statistics import median

import numpy as np
import pytest

from pytest_dsbench.__main__ import main
from pytest_dsbench.gate.nights import tonight
from pytest_dsbench.simulate import noise, peers, records
from pytest_dsbench.simulate.creep import creep
from pytest_dsbench.simulate.nights import Laboratory, Outcome, simulate
from pytest_dsbench.simulate.tally import Tally
from pytest_dsbench.stats import estimate
from pytest_dsbench.thresholds import Thresholds

NIGHTS, CASES = 12, 120


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return simulate(NIGHTS, CASES, seed=3)


@pytest.fixture(scope="module")
def tallies(outcome: Outcome) -> dict[str, Tally]:
    return {one.name: one for one in outcome.tallies}


def test_the_gate_with_an_old_provider_finds_slowdowns_and_raises_no_false_alarm(tallies: dict[str, Tally]) -> None:
    gate = tallies["this gate, screen + duet"]
    assert gate.false_nights <= 0.10
    assert gate.share(0.10) == 1.0
    assert gate.share(0.05) >= 0.80
    assert gate.share(0.03) >= 0.60
    assert gate.unfit == 0


def test_the_gate_without_one_finds_the_large_ones(tallies: dict[str, Tally]) -> None:
    gate = tallies["this gate, no old provider"]
    assert gate.share(0.10) >= 0.80
    assert sum(gate.later.values()) > 0
    assert gate.share(0.05, later=False) <= gate.share(0.05)


def test_simple_rules_raise_false_alarms_that_the_gate_does_not(tallies: dict[str, Tally]) -> None:
    gate = tallies["this gate, screen + duet"]
    for name in peers.RULES:
        assert tallies[name].false_alarms > gate.false_alarms, name
    assert tallies["Mann-Whitney on raw samples, p < 0.05"].false_alarms > 0.2 * CASES


def test_every_slowdown_is_shown_to_every_gate(outcome: Outcome) -> None:
    assert outcome.decisions == NIGHTS * CASES
    assert {sum(one.injected.values()) for one in outcome.tallies} == {NIGHTS * 3}
    assert all(count == NIGHTS for one in outcome.tallies for count in one.injected.values())


def test_the_seed_decides_everything() -> None:
    first, again, other = (simulate(2, 40, seed) for seed in (1, 1, 2))
    assert [vars(one) for one in first.tallies] == [vars(one) for one in again.tallies]
    assert [vars(one) for one in first.tallies] != [vars(one) for one in other.tallies]


def test_creep_is_found() -> None:
    crept = creep(100, seed=1)
    assert crept.found and all(one is not None and 5 <= one <= 30 for one in crept.found)


# -- parts --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def laboratory() -> Laboratory:
    return Laboratory(CASES, 5, noise.Model(), Thresholds())


def test_the_records_are_those_of_a_run(laboratory: Laboratory) -> None:
    told = laboratory.night(0)
    found = records.measurements(laboratory.model, laboratory.suite, laboratory.plan, told, np.zeros(CASES), laboratory.rng(9))
    assert len(found) == 3 * CASES
    first = found[CASES]
    assert first.time == estimate(told.samples[0, 1].tolist(), "samples")
    assert len({one.anchors for one in found if one.anchors}) == 3 * CASES // 20
    seen = tonight(found, records.header(0))
    assert [one.case for one in seen] == laboratory.plan
    assert all(one.night is not None and len(one.night.passes) == 3 for one in seen)


def test_the_noise_is_as_large_as_the_model_says() -> None:
    model = noise.Model()
    suite = noise.cases(model, 4000, np.random.default_rng(1))
    assert suite.seconds.min() >= 4e-6 and suite.seconds.max() <= 4e-3
    assert float(np.median(suite.launch)) == pytest.approx(model.launch, rel=0.05)
    steady = suite.night[suite.night != model.unsteady_night]
    assert float(np.median(steady)) == pytest.approx(model.night, rel=0.05)
    assert 1 - len(steady) / 4000 == pytest.approx(model.unsteady, abs=0.02)
    assert suite.bimodal.mean() == pytest.approx(model.bimodal, abs=0.02)
    assert suite.memory.mean() == 0.5


def test_a_duet_of_a_slower_case_says_by_how_much(laboratory: Laboratory) -> None:
    steady = int(np.flatnonzero(~laboratory.suite.bimodal)[0])
    found = noise.deltas(laboratory.model, laboratory.suite, steady, 0.04, 400, np.random.default_rng(1))
    assert median(found.tolist()) == pytest.approx(0.04, abs=0.004)


def test_mann_whitney_agrees_with_its_definition() -> None:
    rng = np.random.default_rng(1)
    then = rng.normal(1.0, 0.1, (6, 3, 20))
    now = rng.normal(1.0, 0.1, (6, 3, 20)) + np.linspace(-0.05, 0.1, 6)[:, None, None]
    past = peers.Past(15)
    past.add(then)
    flags = peers.mann_whitney(now, past)
    for flag, a, b in zip(flags, now.reshape(6, -1), then.reshape(6, -1), strict=True):
        u = sum(float(x > y) for x in a for y in b)
        n = len(a)
        assert bool(flag) == ((u - n * n / 2) / (n * n * (2 * n + 1) / 12) ** 0.5 > 1.96)
    assert 0 < flags.sum() < 6


def test_simple_rules_on_samples_without_noise() -> None:
    past = peers.Past(15)
    base = np.ones((3, 3, 60)) * (1 + 1e-6 * np.arange(60))
    for _ in range(4):
        past.add(base)
    slower = base * np.array([1.0, 1.04, 1.06])[:, None, None]
    assert peers.fixed_median(slower, past).tolist() == [False, False, True]
    assert peers.fixed_minimum(slower, past).tolist() == [False, False, True]
    assert peers.overlap(slower, past).tolist() == [False, True, True]
    assert peers.history(slower, past).tolist() == [False, True, True]


# -- the command --------------------------------------------------------------------------------------------------------------


def test_the_command_prints_a_row_for_each_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate-gate", "--nights=2", "--cases=40", "--seed=7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "gate" and lines[0].endswith("10 %")
    assert [line for line in lines if line.startswith("this gate, ")] == lines[6:8]
    assert lines[-1] == "80 decisions of each gate: 2 nights of 40 cases, 6 slowdowns; seed 7"


def test_the_command_shows_creep(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate-gate", "--creep", "--cases=40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 of 40 cases get slower by 0.2 % a night, 40 nights; seed 1"
    assert lines[1].startswith("found: ")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--nights=0", "--nights 0: expected a whole number, 1 or more"),
        ("--cases=3", "--cases 3: expected a whole number, 20 or more"),
        ("--seed=-1", "--seed -1: expected a whole number, 0 or more"),
    ],
)
def test_mistakes_are_one_sentence(argument: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate-gate", argument]) == 2
    assert capsys.readouterr().err == f"dsbench: {said}\n"
