"""With pytest-xdist: one run file, one summary, and never two workers timing on one device."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
from project import Project

from pytest_dsbench import workers
from pytest_dsbench.hardware import device

ONE_TOO_MANY = (
    "ERROR: 2 workers would time on 1 device, they would ruin each other's numbers;"
    " use -n 1, or --benchmark-disable to only check"
)


def test_one_worker_times_into_one_file(project: Project) -> None:
    found = project.doubled().spawn("-n", "1")
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 3})
    assert [one.case.label for one in project.records()] == ["rows16", "rows64", "rows256"]
    assert all(one.time is not None for one in project.records())
    run = project.read()
    assert run.end is not None and (run.end.planned, run.end.produced, run.end.not_run) == (3, 3, ())
    assert run.header is not None and run.header.arguments[-2:] == ("-n", "1")
    assert [line for line in found.lines if line.startswith("doubled   good ")], "the summary"


def test_two_workers_do_not_time_on_one_device(project: Project) -> None:
    found = project.doubled().spawn("-n", "2")
    found.says(ONE_TOO_MANY)
    assert (found.code, found.counts) == (4, {})
    assert not (project.path / "runs").exists()


def test_two_workers_do_not_time_by_hand_either(project: Project) -> None:
    project.file("bench_own.py", "def bench_own(dsbench):\n    raise AssertionError\n")
    found = project.spawn("-n", "2")
    found.says(ONE_TOO_MANY)
    assert (found.code, found.counts) == (4, {})


def test_two_workers_may_check(project: Project) -> None:
    found = project.doubled().spawn("-n", "2", "--benchmark-disable")
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 3})
    assert sorted(one.case.label for one in project.records()) == ["rows16", "rows256", "rows64"]
    assert {one.status for one in project.records()} == {"checked"}


def test_two_workers_may_collect_and_plan(project: Project) -> None:
    project.doubled()
    found = project.run("-n", "2", "--collect-only", "-q")
    assert "bench_doubled.py::bench_doubled[rows16-good]" in found.lines
    found = project.run("-n", "2", "--dsbench-hw=h200", "--dsbench-plan")
    found.plain()
    assert "doubled (3 cases)" in found.lines
    assert found.code == 0


def test_two_workers_may_run_what_is_not_ours(project: Project) -> None:
    project.doubled().file("test_one.py", "def test_one():\n    pass\n")
    found = project.spawn("-n", "2", "test_one.py")
    assert (found.code, found.counts) == (0, {"passed": 1})


def test_a_refusal_of_a_worker_is_the_refusal_of_the_run(project: Project) -> None:
    found = project.doubled().spawn("-n", "1", "--dsbench-hw=gb200")
    found.plain()
    assert (found.code, found.counts) == (4, {})
    assert "ERROR: --dsbench-hw=gb200 asks for NVIDIA GB200, but this machine has no GPU" in found.text


def test_a_worker_that_crashes_is_replaced_and_its_case_is_recorded_as_crashed(project: Project) -> None:
    project.doubled(
        """
        @Doubled.provider("crashes", devices=("cpu",))
        def crashes(op, x):
            def launch():
                if op.rows == 64:
                    import os
                    os._exit(7)
                return x * 2
            return launch
        """
    )
    found = project.spawn("-n", "1", "--benchmark-disable")
    assert (found.code, found.counts) == (1, {"failed": 1, "passed": 5})
    assert "worker 'gw0' crashed while running 'bench_doubled.py::bench_doubled[rows64-crashes]'" in found.text
    records = project.records()
    assert [one.case.name for one in records if one.status == "crashed"] == ["doubled[rows64] crashes"]
    assert [one.status for one in records].count("checked") == 5
    end = project.read().end
    assert end is not None
    assert (end.planned, end.produced, end.not_run) == (6, 6, ())


def node(name: str, refusal: str | None = None) -> Any:
    """A worker as the controller sees it."""
    output = {"dsbench_refusal": refusal} if refusal else {}
    return SimpleNamespace(gateway=SimpleNamespace(id=name), workerinput={}, workeroutput=output)


def test_a_worker_that_replaces_another_takes_its_place() -> None:
    slots = workers.Slots()
    nodes = [node("gw0"), node("gw1"), node("gw2")]
    for one in nodes:
        slots.pytest_configure_node(one)
    slots.pytest_testnodedown(nodes[1])
    late = node("gw3")
    slots.pytest_configure_node(late)
    assert [one.workerinput["dsbench_slot"] for one in (*nodes, late)] == [0, 1, 2, 1]
    notes = {one.workerinput["dsbench_notes"] for one in (*nodes, late)}
    assert notes == {str(slots.notes)} and slots.notes is not None and slots.notes.is_dir()
    slots.pytest_unconfigure()
    assert not slots.notes.exists()


def test_a_refusal_ends_the_run() -> None:
    with pytest.raises(pytest.UsageError, match="not here"):
        workers.Slots().pytest_testnodedown(node("gw0", "not here"))


@pytest.mark.parametrize(
    ("count", "slot", "gpus", "visible"),
    [
        (4, 2, ("0", "1", "2", "3"), "2"),
        (2, 1, ("GPU-a", "GPU-b"), "GPU-b"),
        (3, 2, ("5", "6"), "5"),
        (1, 0, ("0", "1"), None),
        (2, 1, ("0",), None),
    ],
)
def test_each_worker_has_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, count: int, slot: int, gpus: tuple[str, ...], visible: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device, "visible_gpus", lambda: gpus)
    config: Any = SimpleNamespace(workerinput={"workercount": count, "dsbench_slot": slot})
    assert workers.share_out(config) == len(gpus)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("count", "devices", "sentence"), [(1, 1, None), (2, 2, None), (8, 4, "8 workers would time on 4 devices, ")]
)
def test_as_many_workers_as_devices_may_time(count: int, devices: int, sentence: str | None) -> None:
    config: Any = SimpleNamespace(workerinput={"workercount": count})
    said = workers.crowded(config, devices)
    assert said is None if sentence is None else said is not None and said.startswith(sentence) and "use -n 4, " in said


def test_without_workers_nothing_is_crowded() -> None:
    config: Any = SimpleNamespace()
    assert workers.crowded(config, 1) is None
    with pytest.raises(pytest.UsageError, match="no"):
        workers.refuse(config, "no")
