"""One bad kernel does not spoil the others: what hangs, ends its process or ruins its device is named, and every planned case
has its record, whatever happened."""

import signal
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

import pytest
import torch
from project import Project

from pytest_dsbench.measurement import Measurement

#: What a kernel can do to its process. `pause` never comes back to Python, whose lock is held meanwhile, and hears of no signal.
FAULTS = """
import ctypes
import os
import resource
import signal
import time


def fault(kind):
    if kind == "segfault":
        ctypes.string_at(0)
    if kind == "exit":
        os._exit(7)
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "pause":
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
        while True:
            ctypes.PyDLL(None).pause()
    if kind == "orphan":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if kind == "memory":
        bytearray(2**44)
    if kind == "lost":
        LOST.append(kind)
    if LOST:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\\nCUDA kernel errors might be reported later")


#: A context that is gone: every later call says so.
LOST = []


def touched(op, who):
    with open("touched.txt", "a") as file:
        file.write(f"{op.rows} {who}\\n")


def provider(kind, rows=64):
    @Doubled.provider(kind, devices=("cpu",))
    def _(op, x):
        touched(op, kind)

        def launch():
            fault(kind if op.rows == rows else None)
            return x * 2

        return launch
"""
SHAPES = 'operator = "doubled"\ncase = [{ rows = [16, 64, 256] }]\n'
SLOW = "took longer than the deadline of 8 s, and its process was killed"


def add(project: Project, *kinds: str, more: str = "") -> Project:
    calls = "\n".join(f"provider({kind!r})" for kind in kinds)
    return project.doubled(f"{FAULTS}\n\n{more}\n\n{calls}", SHAPES)


def told(records: Sequence[Measurement]) -> dict[str, str]:
    return {f"{one.case.label} {one.case.provider}": one.status for one in records}


def reasons(records: Sequence[Measurement]) -> dict[str, str]:
    return {f"{one.case.label} {one.case.provider}": one.reason or "" for one in records if one.reason}


def names(*providers: str) -> list[str]:
    return [f"rows{rows} {provider}" for rows in (16, 64, 256) for provider in providers]


# -- in one process -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["segfault", "killed", "pause"])
def test_in_one_process_all_that_follows_is_not_run(project: Project, kind: str) -> None:
    found = add(project, kind).spawn("--benchmark-disable", "--dsbench-deadline=8s")
    until = monotonic() + 30
    assert found.code == (-signal.SIGSEGV if kind == "segfault" else -signal.SIGKILL)
    run = project.complete()
    ended = "timed_out" if kind == "pause" else "crashed"
    statuses = ["checked", "checked", "checked", ended, "not_run", "not_run"]
    assert told(run.measurements) == dict(zip(names("good", kind), statuses, strict=True))
    guilty = f"doubled[rows64] {kind}"
    why = f"{guilty} {SLOW}" if kind == "pause" else f"{guilty} ended the process"
    own = SLOW if kind == "pause" else "the process ended inside this case"
    assert reasons(run.measurements) == {f"rows64 {kind}": own, "rows256 good": why, f"rows256 {kind}": why}
    assert run.end is not None and (run.end.planned, run.end.produced) == (6, 6)
    assert run.end.not_run == tuple(f"bench_doubled.py::bench_doubled[rows256-{one}]" for one in ("good", kind))
    assert [path.suffix for path in (project.path / "runs").iterdir()] == [".jsonl"]
    # It is said after the process is gone, and its output was taken.
    said = f"dsbench: {why}; 2 planned cases were not run; results: {run.path}"
    while said not in (project.path / "stderr").read_text().splitlines():
        assert monotonic() < until
        sleep(0.05)


def test_in_one_process_a_lost_device_is_not_touched_again(project: Project) -> None:
    more = """
    import pytest

    from pytest_dsbench import Work


    @pytest.fixture
    def tensor():
        touched(Doubled(rows=1), "fixture")


    def bench_own(tensor, dsbench):
        dsbench(
            inputs=lambda new: {"x": new.normal((4, 4), "fp32")},
            launch=lambda x: x * 2,
            reference=lambda x: x.double() * 2,
            work=Work(read=64, written=64, flop={"fp32": 16}),
        )
    """
    add(project, "lost", "other").file("bench_own.py", "from bench_doubled import Doubled, touched\n" + _dedent(more))
    project.file("pytest.ini", "[pytest]\npythonpath = .\n")
    found = project.spawn("--benchmark-disable", "bench_doubled.py", "bench_own.py")
    found.plain()
    assert (found.code, found.counts) == (1, {"passed": 4, "failed": 1, "errors": 5})
    run = project.read()
    left = ["rows64 other", *(f"rows256 {one}" for one in ("good", "lost", "other")), " own"]
    expected = dict.fromkeys(names("good", "lost", "other"), "checked") | dict.fromkeys(left, "not_run")
    assert told(run.measurements) == {**expected, "rows64 lost": "failed"}
    why = "doubled[rows64] lost left the device unusable"
    said = reasons(run.measurements)
    assert "raised RuntimeError: CUDA error: an illegal memory access was encountered" in said.pop("rows64 lost")
    assert said == dict.fromkeys(left, why)
    assert f"not run: {why}" in found.text and f"   5 cases not run: {why}" in found.lines
    touched = (project.path / "touched.txt").read_text().splitlines()
    assert touched[-1] == "64 lost" and "1 fixture" not in touched
    assert run.end is not None and (run.end.planned, run.end.produced, len(run.end.not_run)) == (10, 10, 5)


def test_a_device_that_is_lost_in_the_body_of_a_bench(project: Project) -> None:
    body = """
    import pytest


    @pytest.mark.parametrize("number", [1, 2])
    def bench_own(dsbench, number):
        raise RuntimeError("CUDA error: device-side assert triggered")
    """
    project.file("bench_own.py", _dedent(body))
    found = project.check()
    assert (found.code, found.counts) == (1, {"failed": 1, "errors": 1})
    assert reasons(project.records()) == {
        "1 own": "RuntimeError: CUDA error: device-side assert triggered",
        "2 own": "own[1] own left the device unusable",
    }
    assert [one.status for one in project.records()] == ["failed", "not_run"]


def test_too_little_memory_is_that_cases_own_affair(project: Project) -> None:
    # The machine's memory is not what is exhausted: this process may have so much and no more.
    limit = "resource.setrlimit(resource.RLIMIT_AS, (2**43, resource.getrlimit(resource.RLIMIT_AS)[1]))"
    found = add(project, "memory", more=limit).spawn("--benchmark-disable")
    assert (found.code, found.counts) == (1, {"failed": 1, "passed": 5})
    assert told(project.records()) == dict.fromkeys(names("good", "memory"), "checked") | {"rows64 memory": "failed"}
    assert "ran out of memory" in reasons(project.records())["rows64 memory"]


def test_the_end_of_the_process_in_a_fixture_of_the_first_bench(project: Project) -> None:
    project.file("bench_own.py", _dedent(OWN.replace("{how}", "os._exit(7)")))
    assert project.spawn().code == 7
    run = project.complete()
    assert [(one.case.name, one.status) for one in run.measurements] == [("first own", "crashed"), ("second own", "not_run")]
    assert run.measurements[1].reason == "first own ended the process"


OWN = """
import os

import pytest


@pytest.fixture
def tensor():
    {how}


def bench_first(tensor, dsbench):
    raise AssertionError


def bench_second(dsbench):
    pytest.skip("today")
"""


def test_who_skips_or_raises_before_it_measures_has_a_record(project: Project) -> None:
    own = (
        OWN.replace("{how}", "raise ValueError('no tensor')") + '\n\n@pytest.mark.skip("never")\ndef bench_third(dsbench): ...\n'
    )
    project.file("bench_own.py", _dedent(own))
    assert project.check().counts == {"errors": 1, "skipped": 2}
    assert [(one.case.name, one.status, one.reason) for one in project.records()] == [
        ("first own", "failed", "ValueError: no tensor"),
        ("second own", "skipped", "today"),
        ("third own", "skipped", "never"),
    ]


def test_a_debugger_has_all_the_time(project: Project) -> None:
    project.doubled(
        "import time\nDoubled.provider('slow', devices=('cpu',))(lambda op, x: lambda: (time.sleep(0.5), x * 2)[1])", SHAPES
    )
    assert project.check("--dsbench-deadline=400ms", "--pdb").counts == {"passed": 6}


# -- with pytest-xdist --------------------------------------------------------------------------------------------------------


def test_a_worker_ends_in_the_guilty_case_and_all_others_are_run(project: Project) -> None:
    kinds = ("segfault", "exit", "killed", "pause", "lost", "memory")
    found = add(project, *kinds).spawn("-n", "1", "--benchmark-disable", "--dsbench-deadline=8s", "--junitxml=out.xml")
    # More than the four workers that pytest-xdist itself would replace.
    assert found.counts == {"failed": 6, "passed": 15}
    expected = dict.fromkeys(names("good", *kinds), "checked") | {f"rows64 {kind}": "crashed" for kind in kinds}
    run = project.read()
    assert told(run.measurements) == {**expected, "rows64 pause": "timed_out", "rows64 memory": "failed"}
    said = reasons(run.measurements)
    assert "ran out of memory" in said.pop("rows64 memory")
    lost = "left the device unusable: CUDA error: an illegal memory access was encountered"
    ended = {"segfault": "SIGSEGV", "exit": "exit code 7", "killed": "SIGKILL"}
    assert said == {
        **{f"rows64 {kind}": f"ended its process ({how}); again when replayed alone ({how})" for kind, how in ended.items()},
        "rows64 pause": f"{SLOW}; again when replayed alone ({SLOW})",
        "rows64 lost": f"{lost}; again when replayed alone ({lost})",
    }
    assert run.end is not None and (run.end.planned, run.end.produced, run.end.not_run) == (21, 21, ())
    again = "ended its process (SIGSEGV); again when replayed alone (SIGSEGV)"
    crashed = "worker 'gw0' crashed while running 'bench_doubled.py::bench_doubled[rows64-segfault]'"
    assert f"{crashed}: it {again}" in found.text and f"doubled[rows64] segfault {again}" in found.lines
    assert len(list((project.path / "runs").iterdir())) == 1, "a replay writes nothing"
    assert 'tests="21"' in (project.path / "out.xml").read_text()


def test_the_case_before_is_the_culprit(project: Project) -> None:
    """An error that comes late: with synchronous launches it comes in the case that made it."""
    late = """
    @Doubled.provider("late", devices=("cpu",))
    def late(op, x):
        def launch():
            if op.rows == 64:
                LATE.append(1)
                if os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
                    fault("segfault")
            return x * 2

        return launch


    LATE = []


    @Doubled.provider("victim", devices=("cpu",))
    def victim(op, x):
        return lambda: fault("segfault") if LATE else x * 2
    """
    found = add(project, more=_dedent(late)).spawn("-n", "1", "--benchmark-disable")
    assert found.counts == {"failed": 1, "passed": 8}
    assert reasons(project.records()) == {
        "rows64 victim": "ended its process (SIGSEGV); innocent when replayed alone with synchronous launches; the case before it"
        " on that worker was doubled[rows64] late: again when replayed alone (SIGSEGV)"
    }


def test_nobody_did_it_twice(project: Project) -> None:
    once = """
    def once():
        if not os.path.exists("once"):
            open("once", "w").close()
            fault("segfault")


    Doubled.provider("once", devices=("cpu",))(lambda op, x: lambda: (op.rows == 64 and once(), x * 2)[1])
    """
    add(project, more=_dedent(once)).spawn("-n", "1", "--benchmark-disable")
    said = (
        "ended its process (SIGSEGV); innocent when replayed alone with synchronous launches; the case before it on that worker"
    )
    assert reasons(project.records()) == {"rows64 once": f"{said} was doubled[rows64] good: innocent too"}


def test_two_workers_go_on_where_one_ends(project: Project) -> None:
    found = add(project, "segfault").spawn("-n", "2", "--benchmark-disable")
    assert found.counts == {"failed": 1, "passed": 5}
    assert told(project.records()) == dict.fromkeys(names("good", "segfault"), "checked") | {"rows64 segfault": "crashed"}


def test_timing_in_a_worker_that_is_replaced(project: Project) -> None:
    project = add(project, "segfault")
    project.file("shapes/doubled.toml", 'operator = "doubled"\ncase = [{ rows = [64, 256] }]\n')
    found = project.spawn("-n", "1")
    assert found.counts == {"failed": 1, "passed": 3}
    timed = {name: one.time is not None for name, one in zip(told(project.records()), project.records(), strict=True)}
    assert timed == {"rows64 good": True, "rows64 segfault": False, "rows256 good": True, "rows256 segfault": True}


def test_two_workers_do_not_time_on_a_cpu_that_was_asked_for(project: Project) -> None:
    found = project.doubled().spawn("-n", "2", "--dsbench-hw=cpu")
    assert found.code == 4 and "2 workers would time on 1 device, they would ruin each other's numbers" in found.text


def test_a_worker_that_ends_before_its_first_word(project: Project) -> None:
    project.file("bench_own.py", _dedent(OWN.replace("{how}", "os._exit(7)")))
    found = project.spawn("-n", "1")
    assert found.counts == {"failed": 1, "skipped": 1}
    assert [(one.case.name, one.status) for one in project.records()] == [("second own", "skipped"), ("first own", "crashed")]
    first = "ended its process (exit code 7); again when replayed alone (exit code 7)"
    assert project.records()[1].reason == first


def test_no_worker_may_be_replaced(project: Project) -> None:
    found = add(project, "segfault").spawn("-n", "1", "--benchmark-disable", "--max-worker-restart=0")
    assert found.code == 1
    why = "doubled[rows64] segfault ended the last worker"
    said = reasons(project.records())
    assert (said["rows256 good"], said["rows256 segfault"]) == (why, why)
    end = project.read().end
    assert end is not None and (end.planned, end.produced, len(end.not_run)) == (6, 6, 2)


def test_the_first_failure_ends_a_run_with_workers(project: Project) -> None:
    add(project, "memory").spawn("-n", "1", "--benchmark-disable", "-x")
    said = reasons(project.records())
    assert "ran out of memory" in said.pop("rows64 memory")
    assert said == {"rows256 good": "stopping after 1 failures", "rows256 memory": "stopping after 1 failures"}


def test_the_end_of_the_controller(project: Project) -> None:
    found = add(project, "segfault", "orphan").spawn("-n", "1", "--benchmark-disable")
    assert found.code == -signal.SIGKILL
    run = project.complete()
    statuses = told(run.measurements)
    assert sorted(statuses) == sorted(names("good", "segfault", "orphan"))
    assert (statuses["rows64 segfault"], statuses["rows64 orphan"]) == ("crashed", "not_run")
    assert run.end is not None and (run.end.planned, run.end.produced) == (9, 9)


# -- on a GPU -----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a real illegal access needs a GPU with CUDA")
def test_a_real_illegal_access(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    wild = """
    import triton
    import triton.language as tl


    @triton.jit
    def wild(out):
        tl.store(out + 2**40, 1.0)


    @Doubled.provider("wild", devices=("cuda",))
    def _(op, x):
        def launch():
            out = x * 2
            if op.rows == 64:
                wild[(1,)](out)
            return out

        return launch
    """
    project.doubled(_dedent(wild), SHAPES)
    found = project.spawn("-n", "1", "--benchmark-disable")
    assert found.counts == {"failed": 1, "passed": 5}
    reason = reasons(project.records())["rows64 wild"]
    assert "illegal memory access" in reason and "again when replayed alone" in reason
    for path in Path(project.path / "runs").iterdir():
        path.unlink()
    found = project.spawn("--benchmark-disable")
    assert found.code == 1
    why = "doubled[rows64] wild left the device unusable"
    assert {one.reason for one in project.records() if one.status == "not_run"} == {why}


def _dedent(text: str) -> str:
    lines = text.strip("\n").splitlines()
    width = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[width:] for line in lines) + "\n"
