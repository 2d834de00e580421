"""What the harness itself costs, each against its goal: run by `make speed`.

Ratios are of runs taken in turn, so that a shared machine moves both sides alike.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from textwrap import dedent

ROUNDS = 5
CASES = 3000

OURS = """
from pytest_dsbench import bench

bench_rms_norm = bench("rms_norm")
"""
PLAIN = f"""
import pytest

@pytest.mark.parametrize("case", [pytest.param(n, id=f"tokens{{n}}-hidden7168-torch") for n in range({CASES})])
def test_plain(case):
    pass
"""


def seconds(command: Sequence[str], folder: Path) -> float:
    """Wall time of one command; it has to succeed."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def in_turn(commands: dict[str, Sequence[str]], folder: Path) -> dict[str, float]:
    """The median wall time of each command, run in turn."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            taken[name].append(seconds(command, folder))
    return {name: median(times) for name, times in taken.items()}


def report(what: str, value: str, goal: str) -> None:
    """One line."""
    print(f"{what:<60} {value:>12}   goal {goal}")


def collection(folder: Path) -> None:
    """Collecting 3,000 cases, against 3,000 plain parametrized items."""
    (folder / "shapes").mkdir()
    (folder / "shapes" / "many.toml").write_text(
        f'operator = "rms_norm"\ncase = [{{ tokens = {list(range(1, CASES + 1))}, hidden = 7168 }}]\n'
    )
    (folder / "bench_many.py").write_text(OURS)
    (folder / "test_plain.py").write_text(PLAIN)
    pytest = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    taken = in_turn({"ours": [*pytest, "bench_many.py"], "plain": [*pytest, "test_plain.py"]}, folder)
    ours, plain = taken["ours"], taken["plain"]
    report(f"collecting {CASES} cases: {ours:.2f} s, plain {plain:.2f} s", f"{ours / plain:.2f}x", "1.5x")


def imports(folder: Path) -> None:
    """Importing floors 0 to 2."""
    names = "shapes, plan, options, operators, roofline, hardware"
    core = f"from pytest_dsbench import {names}"
    taken = in_turn({"core": [sys.executable, "-c", core], "none": [sys.executable, "-c", ""]}, folder)
    report("importing the core (floors 0-2)", f"{1e3 * (taken['core'] - taken['none']):.0f} ms", "100 ms")


def unrelated(folder: Path) -> None:
    """An unrelated pytest run with the plugin installed, against the same with it switched off."""
    (folder / "test_one.py").write_text("def test_one():\n    pass\n")
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_one.py"]
    taken = in_turn({"with": pytest, "without": [*pytest, "-p", "no:dsbench"]}, folder)
    report("an unrelated pytest run, with the plugin less without", f"{1e3 * (taken['with'] - taken['without']):.0f} ms", "20 ms")


PER_CASE = """
    import statistics, time
    import pytest
    from pytest_dsbench import rig, runner, trial
    from pytest_dsbench.clock.cpu import CpuClock, StopRule

    work = 0.0

    def counted(owner, name):
        inner = getattr(owner, name)
        def wrapper(*args, **kwargs):
            global work
            began = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                work += time.perf_counter() - began
        setattr(owner, name, wrapper)

    counted(rig.Rig, "contents")
    counted(trial, "run")
    counted(CpuClock, "time")
    counted(runner, "_plan")
    counted(rig, "measure_anchors")
    counted(runner, "_afterwards")

    own = []

    class Items:
        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_protocol(self):
            began, before = time.perf_counter(), work
            yield
            own.append(time.perf_counter() - began - (work - before))

    pytest.main(["-q", "bench_many.py", "-p", "no:cacheprovider", "--benchmark-quiet"], plugins=[Items()])
    # The first case also loads what the others find loaded; of many cases the median is that of one more.
    print("RESULT", statistics.median(own), len(own))
"""


def per_case(folder: Path) -> None:
    """Harness time of a case outside measuring, checking and generating inputs."""
    (folder / "shapes" / "many.toml").write_text(
        f'operator = "rms_norm"\ncase = [{{ tokens = {list(range(1, 101))}, hidden = 256 }}]\n'
    )
    done = subprocess.run([sys.executable, "-c", dedent(PER_CASE)], cwd=folder, check=True, capture_output=True, text=True)
    each, count = done.stdout.rpartition("RESULT ")[2].split()
    report(f"harness time per case, over {count} cases", f"{1e3 * float(each):.1f} ms", "5 ms")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for measure in (collection, imports, unrelated, per_case):
            measure(Path(name))
