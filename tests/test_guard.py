"""The guard: it ends what is overdue and nobody else, and completes the run file of a process that is gone."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_runs import CASE, HEADER, MEASUREMENT

from pytest_dsbench import runs
from pytest_dsbench.guard import note
from pytest_dsbench.guard.closing import close, not_run
from pytest_dsbench.guard.note import Note
from pytest_dsbench.measurement import Planned
from pytest_dsbench.options import DEADLINE, parse_deadline
from pytest_dsbench.runs import End, Writer, keep_plan, kept_plan, without_plan

#: Longer than anything here takes, and shorter than anybody waits.
_LONG = 30.0

#: What the guard does without.
KNOWN = {"torch", "pytest", "msgspec", "pytest_dsbench"}

HEAD = """
import ctypes, os, signal, sys, time
from pathlib import Path
from pytest_dsbench.guard.client import Guard

folder = Path(sys.argv[1])
guard = Guard(folder)
print(guard.pid, flush=True)
"""
#: Never comes back to Python, which holds its lock meanwhile, and hears of nothing but SIGKILL.
STUCK = """
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
while True:
    ctypes.PyDLL(None).pause()
"""


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + _LONG
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A process with a guard that runs `code`; when it is gone, so is the guard."""
    script = HEAD + "\n".join(line.strip("\n") for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=_LONG)
    until(lambda: not alive(int(done.stdout.split()[0])))
    return done


def planned(*labels: str) -> dict[str, Planned]:
    return {label: CASE.replace(label=label) for label in labels}


def begun(folder: Path, *labels: str) -> Path:
    """A run file of a run that goes on, with the record of its first case."""
    writer = Writer(folder, HEADER)
    keep_plan(writer.path, planned(*labels))
    writer.append(MEASUREMENT.replace(case=planned(*labels)[labels[0]]))
    writer.close()
    return writer.path


def statuses(path: Path) -> list[tuple[str, str, str | None]]:
    run = runs.read(path)
    assert run.complaints == ()
    return [(one.case.label, one.status, one.reason) for one in run.measurements]


def test_what_is_stuck_is_killed_and_told_of(tmp_path: Path) -> None:
    done = run('with guard.case("a::b[c]", 0.3):' + "".join(f"\n    {line}" for line in STUCK.splitlines()), tmp_path)
    assert done.returncode == -signal.SIGKILL
    reason = "took longer than the deadline of 0.3 s, and its process was killed"
    assert note.take(tmp_path, "another") is None
    assert note.take(tmp_path, "a::b[c]") == Note(node="a::b[c]", status="timed_out", reason=reason)
    assert note.take(tmp_path, "a::b[c]") is None, "it was taken"


@pytest.mark.parametrize(
    "code",
    [
        'with guard.case("a", 0.2):\n    pass\ntime.sleep(0.6)',
        'with guard.case("a", None):\n    time.sleep(0.6)',
        'with guard.case("a", 0.4):\n    with guard.paused():\n        time.sleep(0.8)',
        'guard.dismiss()\nwith guard.case("a", 0.1):\n    time.sleep(0.5)',
        "time.sleep(0.2)",
    ],
    ids=["in time", "no deadline", "paused", "dismissed", "no case"],
)
def test_nobody_else_is_killed(tmp_path: Path, code: str) -> None:
    done = run(code, tmp_path)
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (0, "", [])


def test_a_pause_stops_the_clock_and_does_not_wind_it_up(tmp_path: Path) -> None:
    begin = time.monotonic()
    code = (
        'with guard.case("a", 1.0):\n    time.sleep(0.3)\n    with guard.paused():\n        time.sleep(1.2)\n    time.sleep(60)'
    )
    assert run(code, tmp_path).returncode == -signal.SIGKILL
    assert time.monotonic() - begin > 2.2


def test_a_forked_child_is_not_what_is_guarded(tmp_path: Path) -> None:
    code = """
if os.fork() == 0:
    os.close(1), os.close(2)
    guard.dismiss()
    while not (folder / "over").exists():
        time.sleep(0.1)
    os._exit(0)
with guard.case("a", 0.5):
    time.sleep(60)
"""
    # The guard ends though a child holds its pipe open, and ends its parent though that child dismissed it.
    assert run(code, tmp_path).returncode == -signal.SIGKILL
    (tmp_path / "over").touch()


def test_a_number_that_is_anothers_by_now_is_let_alone(tmp_path: Path) -> None:
    """The guard is told a process that is not its parent: as if that were gone, and its number given again."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        script = Path(runs.__file__).parent / "guard" / "process.py"
        order = b'{"do": "case", "node": "a", "seconds": 0.1}\n'
        done = subprocess.run([sys.executable, "-P", str(script), str(other.pid), ""], input=order, timeout=_LONG, check=False)
        time.sleep(0.3)
        assert (done.returncode, other.poll()) == (0, None)
    finally:
        other.kill()
        other.wait()


def test_a_guard_that_is_gone_is_no_harm(tmp_path: Path) -> None:
    code = 'os.kill(guard.pid, 9)\ntime.sleep(0.2)\nwith guard.case("a", 1):\n    pass\nguard.dismiss()\nprint("well")'
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout.split()[1:]) == (0, ["well"])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_it_outlives_what_ends_a_terminal(tmp_path: Path, name: str) -> None:
    path = begun(tmp_path, "a", "b")
    begin = f'guard.file(Path({str(path)!r}))\nguard.done("a")\ntime.sleep(0.3)\n'
    code = f"{begin}os.kill(guard.pid, signal.{name})\ntime.sleep(0.2)\nos._exit(3)"
    assert run(code, tmp_path).returncode == 3
    assert [status for _, status, _ in statuses(path)] == ["invalid", "not_run"]


def test_it_knows_neither_torch_nor_pytest_nor_the_package_until_it_has_to_write(tmp_path: Path) -> None:
    script = Path(runs.__file__).parent / "guard" / "process.py"
    code = f"import sys, runpy; runpy.run_path({str(script)!r}); print(sorted(set(sys.modules) & {KNOWN}))"
    assert subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# -- the run file -------------------------------------------------------------------------------------------------------------


def test_a_process_that_ends_inside_a_case_leaves_a_whole_run_file(tmp_path: Path) -> None:
    path = begun(tmp_path, "a", "b", "c")
    code = f'guard.file(Path({str(path)!r}))\nguard.done("a")\nwith guard.case("b", 60):\n    ctypes.string_at(0)'
    done = run(code, tmp_path)
    assert done.returncode == -signal.SIGSEGV
    assert statuses(path) == [
        ("a", "invalid", MEASUREMENT.reason),
        ("b", "crashed", "the process ended inside this case"),
        ("c", "not_run", "attention_forward[b] torch ended the process"),
    ]
    assert runs.read(path).end == End(planned=3, produced=3, not_run=("c",))
    assert kept_plan(path) is None
    said = f"dsbench: attention_forward[b] torch ended the process; 1 planned case was not run; results: {path}"
    assert said in done.stderr.splitlines()


def test_a_case_that_was_killed_for_its_time_is_in_the_run_file(tmp_path: Path) -> None:
    path = begun(tmp_path, "a", "b", "c")
    assert (
        run(
            f'guard.file(Path({str(path)!r}))\nguard.done("a")\nwith guard.case("b", 0.2):\n    time.sleep(60)', tmp_path
        ).returncode
        == -9
    )
    reason = "took longer than the deadline of 0.2 s, and its process was killed"
    assert statuses(path)[1:] == [("b", "timed_out", reason), ("c", "not_run", f"attention_forward[b] torch {reason}")]


def test_outside_of_any_case(tmp_path: Path) -> None:
    path = begun(tmp_path, "a", "b", "c")
    begin = f'guard.file(Path({str(path)!r}))\nwith guard.case("a", 9):\n    guard.done("a")\n'
    run(begin + 'guard.fault("b", "crashed", "ended its process")\nos._exit(1)', tmp_path)
    why = "the process ended outside of any case, after attention_forward[a] torch"
    assert statuses(path)[1:] == [("b", "crashed", "ended its process"), ("c", "not_run", why)]


def test_a_line_that_was_cut_off_gives_way(tmp_path: Path) -> None:
    path = begun(tmp_path, "a", "b")
    path.write_bytes(path.read_bytes() + b'{"kind":"case","v":3,"ca')
    close(path, {"a"}, {}, None, "")
    assert [label for label, _, _ in statuses(path)] == ["a", "b"]


def test_a_whole_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = begun(tmp_path, "a")
    with path.open("ab") as file:
        file.write(runs.to_line(End(planned=1, produced=1)))
    whole = path.read_bytes()
    assert close(path, {"a"}, {}, None, "a") == ""
    without_plan(path)
    assert close(path, {"a"}, {}, None, "a") == ""
    assert path.read_bytes() == whole


def test_who_was_planned_and_has_no_record(tmp_path: Path) -> None:
    left = not_run(planned("a", "b"), {"a"}, "why")
    assert {name: (one.case.label, one.status, one.reason) for name, one in left.items()} == {"b": ("b", "not_run", "why")}


def test_notes_that_cannot_be_read_are_no_notes(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text("{")
    note.leave(tmp_path, Note(node="a", status="crashed", reason="r"))
    assert note.take(tmp_path, "a") == Note(node="a", status="crashed", reason="r")
    assert note.take(None, "a") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, DEADLINE), ("60s", 60), ("1.5 min", 90), ("2h", 7200), ("500ms", 0.5), ("off", None), ("0", None)],
)
def test_deadlines(text: str | None, seconds: float | None) -> None:
    assert parse_deadline(text) == seconds
