"""Cases that ended a worker: what is said of them, and how many are replayed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_runs import CASE

from pytest_dsbench.faults import aftermath
from pytest_dsbench.faults.aftermath import Aftermath
from pytest_dsbench.faults.replay import Replayed, Stage, ending, replay
from pytest_dsbench.measurement import Planned

PLANNED = {name: CASE.replace(label=name) for name in "abc"}


def report(node: str, longrepr: str | None = None) -> Any:
    worker = SimpleNamespace(gateway=SimpleNamespace(id="gw0"), workerinput={"workerid": "gw0"})
    text = longrepr or ""
    return SimpleNamespace(nodeid=node, node=worker, longrepr=longrepr, longreprtext=text, failed=bool(text), passed=not text)


def after(*ended: str, restart: str | None = None) -> tuple[Aftermath, Any]:
    """A run of which these cases ended their worker, each after the case before it in the plan."""
    distributed = SimpleNamespace(_max_worker_restart=4)
    config: Any = SimpleNamespace(
        pluginmanager=SimpleNamespace(getplugin=lambda name: distributed),
        option=SimpleNamespace(maxworkerrestart=restart),
        invocation_params=SimpleNamespace(args=("-n", "1"), dir=Path()),
    )
    found = Aftermath(config, lambda: None)
    for node in PLANNED:
        found.heard(report(node))
        if node in ended:
            found.crashed(report(node, f"worker 'gw0' crashed while running '{node}'"), PLANNED, recorded=False)
    return found, distributed


def reasons(found: Aftermath, planned: dict[str, Planned] = PLANNED, replays: bool = True) -> list[str | None]:
    return [one.reason for _, one in found.results(planned, 5.0, replays)]


def test_a_worker_is_replaced_for_each_case_that_ended_one() -> None:
    assert after("a", "b")[1]._max_worker_restart == 6
    assert after("a", "b", restart="4")[1]._max_worker_restart == 4, "as it was asked for"


def test_the_option_of_pytest_xdist_is_where_it_was() -> None:
    from xdist.dsession import DSession

    assert "_max_worker_restart" in DSession.__init__.__code__.co_names


def test_so_many_are_replayed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aftermath, "_MOST", 1)
    monkeypatch.setattr(aftermath, "replay", lambda stage, node, given: Replayed(guilty=True, said="SIGSEGV"))
    first, second = reasons(after("a", "b")[0])
    assert first == "ended its process; again when replayed alone (SIGSEGV)"
    assert second == "ended its process; not replayed: 1 case was"


def test_who_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def innocent(stage: Stage, node: str, given: dict[str, str]) -> Replayed:
        asked.append(node)
        return Replayed(guilty=False, said="was failed: wrong" if node == "c" else "")

    monkeypatch.setattr(aftermath, "replay", innocent)
    alone = "ended its process; innocent when replayed alone with synchronous launches"
    assert reasons(after("a", "c")[0]) == [
        f"{alone}; it was the first case of that worker",
        f"{alone}, where it was failed: wrong; the case before it on that worker was {PLANNED['b'].name}: innocent too",
    ]
    assert asked == ["a", "c", "b"]


def test_ctrl_c_ends_the_replays_and_loses_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(stage: Stage, node: str, given: dict[str, str]) -> Replayed:
        raise KeyboardInterrupt

    monkeypatch.setattr(aftermath, "replay", interrupted)
    assert reasons(after("a", "b")[0]) == ["ended its process", "ended its process"]
    assert reasons(after("a")[0], replays=False) == ["ended its process"]


def test_a_replay_that_cannot_begin_accuses_nobody(tmp_path: Path) -> None:
    stage = Stage(args=("--no-such-option",), folder=tmp_path, notes=None, deadline=None)
    found = replay(stage, "a.py::a", {})
    assert found.guilty is None
    assert found.sentence == "could not be replayed (its process ended before it (exit code 4))"


def test_how_processes_end() -> None:
    assert [ending(code) for code in (-11, -9, 0, 7, -99)] == ["SIGSEGV", "SIGKILL", "exit code 0", "exit code 7", "signal 99"]
