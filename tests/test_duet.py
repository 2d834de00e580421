"""The duet with real processes: what is measured, and what becomes of a side that is wrong, hangs, dies or is not there."""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from pytest_dsbench.__main__ import main
from pytest_dsbench.clock import Batch, Samples, StopRule
from pytest_dsbench.duet import conduct, process
from pytest_dsbench.duet import digest as digests
from pytest_dsbench.duet.bout import Bout, Ended, Settings, _delta
from pytest_dsbench.duet.bout import bout as one_bout
from pytest_dsbench.duet.conduct import Duel, duet, remeasure
from pytest_dsbench.duet.digest import digest
from pytest_dsbench.duet.interpreter import interpreter
from pytest_dsbench.duet.orders import PROTOCOL, Done, Finished, Hello, Next, Prepare, Ready, Setup, Slice
from pytest_dsbench.duet.process import Lost, Side, Worker, pair
from pytest_dsbench.duet.slices import Slices
from pytest_dsbench.duet.worktree import worktree
from pytest_dsbench.measurement import Planned
from pytest_dsbench.mistake import Mistake

HERE = Path(sys.executable)

#: An operator, doubled numbers, with what differs between the two sides: how inputs are made, and the providers.
BENCH = '''
import os, signal, sys, time

import helper
from pytest_dsbench import Operator, Dim, Spec, Tolerance, Work, bench

print("a library that prints does not disturb the conversation")


class {name}(Operator):
    """Twice x."""

    rows: Dim
    tolerance = {{"out": Tolerance(rtol=1e-2)}}
    edges = ()

    def work(self):
        return Work(read=32 * self.rows, written=32 * self.rows, flop={{"fp32": 8 * self.rows}})

    def inputs(self, new):
        return {{"x": new.normal((self.rows, 8), "fp32", std={std})}}

    def outputs(self):
        return {{"out": Spec(shape=(self.rows, 8), dtype="fp32")}}

    def reference(self, x):
        return x.double() * 2


def provider(function):
    {name}.provider(function.__name__, devices=("cpu", "cuda"))(function)
    return function


@provider
def good(op, x):
    return lambda: helper.twice(x)


{providers}


bench_it = bench({name})
'''
OLD = """
@provider
def dies(op, x):
    return lambda: x * 2

hangs = wrong = raises = dies
for name in ("hangs", "wrong", "raises"):
    DuetDoubled.provider(name, devices=("cpu", "cuda"))(dies)
"""
NEW = """
calls = []

def later(what):
    def launch(x):
        calls.append(0)
        # By now it is asked for slices.
        if len(calls) > 1000:
            what()
        return x * 2
    return launch

@provider
def dies(op, x):
    calls.clear()
    return lambda: later(lambda: os.kill(os.getpid(), signal.SIGSEGV))(x)

@provider
def hangs(op, x):
    calls.clear()
    return lambda: later(lambda: time.sleep(1000))(x)

@provider
def wrong(op, x):
    return lambda: x * 3

@provider
def raises(op, x):
    raise ValueError("not today")

@provider
def fresh(op, x):
    return lambda: x * 2
"""
BY_HAND = """
import pytest
from pytest_dsbench import Work

@pytest.mark.parametrize("rows", [4, 64])
def bench_add(dsbench, rows):
    for factor in (1, 2):
        dsbench(
            inputs=lambda new: {"x": new.normal((rows, 8), "fp32")},
            launch=lambda x: x + factor,
            reference=lambda x: x.double() + factor,
            work=Work(read=32 * rows, written=32 * rows, flop={"fp32": 8 * rows}),
        )

def bench_files(dsbench, tmp_path):
    pass
"""
CPU = """
title = "a CPU"
kind = "cpu"
vendor = "cpu"
source = "made up"
bandwidth = "1 PB/s"
[peak]
fp32 = "1 PFLOP/s"
"""


def project(root: Path, providers: str = "", std: int = 1, again: int = 1) -> Path:
    """A project whose kernel, in a module of its own, does its work `again` times."""
    inside = root / "benches"
    inside.mkdir(parents=True, exist_ok=True)
    (root / "pytest.ini").write_text("[pytest]\npythonpath = src\n")
    (root / "src").mkdir(exist_ok=True)
    (root / "src/helper.py").write_text(f"def twice(x):\n    return [x * 2 for _ in range({again})][-1]\n")
    (inside / "bench_doubled.py").write_text(BENCH.format(name="DuetDoubled", std=1, providers=providers))
    (inside / "bench_changed.py").write_text(BENCH.format(name="DuetChanged", std=std, providers=""))
    (inside / "bench_add.py").write_text(BY_HAND)
    return root


def planned(provider: str, operator: str = "duet_doubled", rows: int = 64) -> Planned:
    file = operator.removeprefix("duet_")
    return Planned(
        operator=operator,
        dims={"rows": rows},
        label="",
        where="a:1",
        provider=provider,
        bench=f"benches/bench_{file}.py::bench_it",
    )


def by_hand(label: str, function: str = "bench_add", **dims: Any) -> Planned:
    name = function.removeprefix("bench_")
    return Planned(operator=name, dims=dims, label=label, where="a:1", provider="own", bench=f"benches/bench_add.py::{function}")


CASES = {
    "good": planned("good"),
    "dies": planned("dies"),
    "hangs": planned("hangs"),
    "wrong": planned("wrong"),
    "raises": planned("raises"),
    "fresh": planned("fresh"),
    "changed": planned("good", "duet_changed"),
    "dimension": planned("good").replace(dims={"row": 3}),
    "torch": Planned(operator="rms_norm", dims={"tokens": 16, "hidden": 64}, label="", where="a:1", provider="torch"),
    "by hand": by_hand("4", rows=4),
    "second": by_hand("64#2", rows=64),
    "third": by_hand("64#3", rows=64),
    "fixture": by_hand("", "bench_files"),
}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    folder = tmp_path_factory.mktemp("duet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        old, new = project(folder / "old", OLD), project(folder / "new", NEW, std=2)
        yield Side(python=HERE, root=old, label="old"), Side(python=HERE, root=new, label="new")


@pytest.fixture(scope="module")
def found(sides: tuple[Side, Side]) -> dict[str, Duel]:
    """One duet of all cases: whatever happens to one of them, the others are measured."""
    said: list[str] = []
    duels = list(duet(*sides, [*CASES.values()], Settings(pairs=1, couples=4, slice=3.0), said.append))
    assert said[0] == "pair 1 of 1: duet_doubled good" and len(said) == len(CASES)
    return {name: next(one for one in duels if one.case == case) for name, case in CASES.items()}


@pytest.mark.parametrize("name", ["good", "torch", "by hand", "second"])
def test_what_both_have_is_compared(found: dict[str, Duel], name: str) -> None:
    duel = found[name]
    assert duel.outcome in ("same", "regressed", "improved"), duel.reason
    assert (duel.pairs, duel.mode, duel.reason) == (1, "cpu", None)
    assert duel.change == duel.deltas[0] and duel.low is not None and duel.high is not None
    assert duel.low < duel.change < duel.high
    assert duel.old is not None and duel.new is not None and duel.old.seconds > 0 < duel.new.seconds
    assert [*duel.old.packages] == ["torch"] == [*duel.new.packages]
    assert not any("bits" in note for note in duel.notes)


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        ("dies", "crashed", "new was killed by SIGSEGV"),
        ("hangs", "timed_out", "new hung: no answer within 3 s"),
        ("wrong", "invalid", "old and new disagree: new is wrong: provider 'wrong' "),
        ("raises", "invalid", "old and new disagree: new is wrong: provider 'raises' raised ValueError: not today"),
        ("fresh", "refused", "old: unknown provider of duet_doubled 'fresh'; "),
        (
            "changed",
            "refused",
            "old and new were given different inputs: the definition of duet_changed changed between them",
        ),
        ("dimension", "refused", "old: unknown dimension of duet_doubled 'row'; did you mean 'rows'?"),
        ("third", "refused", "old: bench_add called dsbench 2 times; add[64#3] own is not among them"),
        ("fixture", "refused", "old: bench_files asks for 'tmp_path': outside of pytest there are only "),
    ],
)
def test_what_cannot_be_compared_is_named(found: dict[str, Duel], name: str, outcome: str, reason: str) -> None:
    assert found[name].outcome == outcome
    assert (found[name].reason or "").startswith(reason), found[name].reason
    assert found[name].change is None


def test_one_case_measured_again(sides: tuple[Side, Side], tmp_path: Path) -> None:
    sheet = tmp_path / "own.toml"
    sheet.write_text(CPU)
    again = remeasure(sides[1], planned("good"), Settings(setup=Setup(hw=str(sheet))))
    assert again.time is not None and again.hardware == "own" and again.status in ("passed", "noisy_host")


# -- the conductor alone ------------------------------------------------------------------------------------------------------


@contextmanager
def _two(*_: Any) -> Iterator[tuple[None, None]]:
    yield None, None


BOUT = Bout(delta=0.5, mode="cpu", old=(1.0,), new=(1.6,), old_packages={}, new_packages={}, notes=("said once",))


def conducted(monkeypatch: pytest.MonkeyPatch, act: Callable[[int, str], Bout], *names: str) -> tuple[dict[str, Duel], list[str]]:
    """A duet of four pairs in which `act(number of the call, provider)` stands for the two processes."""
    calls: list[str] = []

    def bout(both: object, case: Planned, settings: Settings) -> Bout:
        calls.append(case.provider)
        return act(calls.count(case.provider), case.provider)

    monkeypatch.setattr(conduct, "pair", _two)
    monkeypatch.setattr(conduct, "bout", bout)
    side = Side(python=HERE, root=Path(), label="either")
    return {one.case.provider: one for one in duet(side, side, [planned(name) for name in names], Settings(pairs=4))}, calls


def test_every_pair_serves_all_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    found, calls = conducted(monkeypatch, lambda n, name: BOUT.replace(delta=n / 10), "a", "b")
    assert calls == ["a", "b"] * 4
    assert found["a"].deltas == (0.1, 0.2, 0.3, 0.4) and found["a"].change == 0.25
    assert (found["a"].outcome, found["a"].notes) == ("regressed", ("said once",))
    assert found["a"].old == conduct.Half(seconds=1.0, packages={}) and found["a"].new == conduct.Half(seconds=1.6, packages={})


def test_a_lost_worker_costs_one_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(number: int, name: str) -> Bout:
        if name == "a" and number == 2:
            raise Lost("crashed", "new died")
        return BOUT

    found, calls = conducted(monkeypatch, act, "a", "b")
    assert len(calls) == 8 and (found["a"].pairs, found["b"].pairs) == (3, 4)
    assert found["a"].notes == ("said once", "one pair is missing: new died")


def test_twice_lost_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(number: int, name: str) -> Bout:
        if name == "a" and number in (1, 3):
            raise Lost("timed_out", "new hung")
        return BOUT

    found, calls = conducted(monkeypatch, act, "a", "b")
    assert calls.count("a") == 3 and found["b"].pairs == 4
    assert (found["a"].outcome, found["a"].reason, found["a"].deltas) == ("timed_out", "new hung", ())


def test_what_is_wrong_is_wrong_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(number: int, name: str) -> Bout:
        raise Ended("invalid", "new is wrong")

    found, calls = conducted(monkeypatch, act, "a")
    assert calls == ["a"] and (found["a"].outcome, found["a"].reason) == ("invalid", "new is wrong")


def test_disturbed_couples_are_dropped_unless_most_are() -> None:
    couples = [(1.0, 2.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)]
    assert _delta(couples, ["off core", None, None, None]) == (0.0, None)
    assert _delta(couples[:3], ["off core", "off core", None]) == (0.0, "off core")


@pytest.mark.parametrize(
    ("deltas", "disturbed", "outcome"),
    [
        ((-3.4, -2.9, 1.2, -3.0), "off core", "noisy_host"),
        ((0.1, 0.101, 0.102, 0.1), "off core", "regressed"),
        ((-3.4, -2.9, 1.2, -3.0), None, "same"),
    ],
)
def test_pairs_that_were_disturbed_and_lie_apart_say_nothing(
    monkeypatch: pytest.MonkeyPatch, deltas: tuple[float, ...], disturbed: str | None, outcome: str
) -> None:
    def act(number: int, name: str) -> Bout:
        return BOUT.replace(delta=deltas[number - 1], disturbed=disturbed)

    found, _ = conducted(monkeypatch, act, "a")
    assert (found["a"].outcome, found["a"].pairs) == (outcome, 4)
    assert (found["a"].reason is not None) == (outcome == "noisy_host")
    assert ("more than half of the slices were disturbed: off core" in found["a"].notes) == (disturbed is not None)


# -- one pair of processes ----------------------------------------------------------------------------------------------------


class Stub:
    """A worker that answers as the test says, and remembers what it was asked."""

    def __init__(self, label: str, *modes: str, inputs: str = "i", torch: str = "2", seconds: float = 1.0, last: str = "passed"):
        self.side = Side(python=HERE, root=Path(), label=label)
        self.torch = torch
        self.asked: list[object] = []
        self._modes = iter(modes)
        self._ready = {"inputs": inputs, "outputs": {"out": label}}
        self._seconds = seconds
        self._last = last

    def send(self, order: object) -> None:
        self.asked.append(order)

    def answer(self, seconds: float) -> object:
        match self.asked[-1]:
            case Prepare():
                return Ready(mode=next(self._modes), **self._ready)
            case Next():
                return Slice(seconds=self._seconds)
        return Finished(status=self._last, reason="why")  # type: ignore[arg-type]

    def ask(self, order: object, seconds: float) -> object:
        self.send(order)
        return self.answer(seconds)


def fought(old: Stub, new: Stub) -> Bout:
    return one_bout((old, new), planned("good"), Settings(couples=4))  # type: ignore[arg-type]


def test_slices_in_turns() -> None:
    old, new = Stub("old", "cpu"), Stub("new", "cpu", seconds=2.0)
    new.asked = old.asked  # in one row, to see whose turn it was
    turns: list[str] = []
    for stub in (old, new):
        stub.ask = lambda order, seconds, stub=stub: (turns.append(stub.side.label), Stub.ask(stub, order, seconds))[1]  # type: ignore[method-assign, misc]
    found = fought(old, new)
    assert " ".join(turns) == "old new new old old new new old"
    assert (found.delta, found.old, found.new) == (pytest.approx(math.log(2)), (1.0,) * 4, (2.0,) * 4)
    assert found.notes == ("both are right, and differ in the bits of out",)


def test_two_ways_to_time_become_one() -> None:
    old, new = Stub("old", "graph", "events"), Stub("new", "events", "events")
    assert fought(old, new).mode == "events"
    for stub in (old, new):
        assert [one.mode for one in stub.asked if isinstance(one, Prepare)] == [None, "events"]
        assert isinstance(stub.asked[1], Done)


def test_versions_of_torch_may_draw_other_numbers() -> None:
    with pytest.raises(Ended, match=r"changed between them, or torch 2 and 3 draw different numbers$") as ended:
        fought(Stub("old", "cpu"), Stub("new", "cpu", inputs="j", torch="3"))
    assert ended.value.outcome == "refused"


@pytest.mark.parametrize(
    ("old", "new", "outcome", "reason"),
    [
        ("passed", "failed", "invalid", "old and new disagree: new is wrong: why"),
        ("failed", "passed", "invalid", "old and new disagree: old is wrong: why"),
        ("failed", "invalid", "invalid", "old and new are both wrong; new: why"),
        ("noisy_host", "skipped", "refused", "new: why"),
    ],
)
def test_what_is_found_last_counts(old: str, new: str, outcome: str, reason: str) -> None:
    with pytest.raises(Ended) as ended:
        fought(Stub("old", "cpu", last=old), Stub("new", "cpu", last=new))
    assert (ended.value.outcome, str(ended.value)) == (outcome, reason)


@dataclass
class Orders:
    """A link whose orders the test wrote down."""

    orders: list[object]
    sent: list[object] = field(default_factory=list)

    def receive(self) -> object:
        return self.orders.pop(0)

    def send(self, answer: object) -> None:
        self.sent.append(answer)


def drawn(mode: str, orders: list[object], *batches: Batch) -> tuple[Samples, list[object]]:
    link, rest = Orders(orders), iter(batches)
    slices = Slices(link)  # type: ignore[arg-type]
    slices._ready = lambda mode: Ready(mode=mode, inputs="", outputs={})  # type: ignore[method-assign]
    found = slices(lambda: next(rest), StopRule(least=1, busy=1.0, wall=1.0), mode)
    return found, link.sent[1:]


def test_a_slice_on_a_cpu_is_one_batch() -> None:
    found, sent = drawn("cpu", [Next(), Next(), Done()], Batch([3.0], 0.02), Batch([5.0], 0.02, "off core"))
    assert sent == [Slice(seconds=3.0), Slice(seconds=5.0, discard="off core")]
    assert (found.mode, found.seconds, found.rejected, found.batches) == ("cpu", [3.0], [5.0], 2)


def test_a_slice_on_a_gpu_is_50_ms_of_samples() -> None:
    batches = Batch([1.0, 3.0], 0.02), Batch([9.0] * 9, 0.02, "hot"), Batch([4.0], 0.01), Batch([7.0], 0.06)
    found, sent = drawn("events", [Next(), Next(), Done()], *batches)
    assert sent == [Slice(seconds=3.0), Slice(seconds=7.0)]
    assert found.seconds == [1.0, 3.0, 4.0, 7.0]


def test_a_case_that_is_dismissed_has_a_time_all_the_same() -> None:
    found, sent = drawn("cpu", [Done()], Batch([3.0], 0.02))
    assert (found.seconds, sent) == ([3.0], [])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.bool, torch.int64])
def test_digests_see_every_bit(dtype: torch.dtype) -> None:
    value = torch.arange(12).remainder(2).reshape(3, 4).to(dtype)
    other = value.clone()
    assert digest([{"x": value}]) == digest([{"x": other}]) == digest([{"x": value.t().contiguous().t()}])
    other.view(-1).view(torch.uint8)[-1] ^= 1
    different = [{"x": other}], [{"y": value}], [{"x": value.t()}], [{"x": value}] * 2, [{"x": value[:0]}]
    assert len({digest(one) for one in [[{"x": value}], *different]}) == 6
    assert digest([{"x": torch.zeros(())}]) != digest([{"x": torch.ones(())}])


def test_of_large_tensors_a_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_MOST", 100)
    values = torch.zeros(1000)
    assert 80 < digests._part(values).numel() <= 100
    assert digest([{"x": values}]) != digest([{"x": torch.ones(1000)}])


# -- processes that do not come up --------------------------------------------------------------------------------------------


def own_harness(root: Path, worker: str) -> Side:
    """A root with a harness of its own, whose worker does what the test says."""
    folder = root / "pytest_dsbench" / "duet"
    folder.mkdir(parents=True)
    for place in (folder.parent, folder):
        (place / "__init__.py").touch()
    (folder / "worker.py").write_text(worker)
    return Side(python=HERE, root=root, label="old (v1)")


def refused(side: Side) -> str:
    with pytest.raises(Mistake) as error, pair(side, side, Setup(), 20):
        pass
    return str(error.value)


def test_protocols_must_agree(tmp_path: Path) -> None:
    side = own_harness(tmp_path, 'print(\'{"kind": "hello", "protocol": 99, "news": true}\', flush=True)')
    assert refused(side) == f"old (v1) speaks protocol 99, and this side of the duet protocol {PROTOCOL}"


def test_a_worker_speaks_no_other_protocol(sides: tuple[Side, Side]) -> None:
    with (
        pytest.raises(Mistake, match="old: this side of the duet speaks protocol"),
        Worker(sides[0], Setup(protocol=99)) as worker,
    ):
        worker.hello(20)


def test_a_harness_without_duet(tmp_path: Path) -> None:
    (tmp_path / "pytest_dsbench").mkdir()
    (tmp_path / "pytest_dsbench/__init__.py").touch()
    with pytest.raises(Mistake, match="knows no duet; choose a later commit"):
        process.package(tmp_path)


def test_a_worker_that_cannot_start(tmp_path: Path) -> None:
    side = own_harness(tmp_path, 'raise SystemExit("no such luck")')
    with pytest.raises(Mistake, match=r"^old \(v1\) ended with exit code 1: no such luck before it measured anything$"):
        list(duet(side, side, [planned("good")], Settings(pairs=1)))


def test_both_need_one_device(tmp_path: Path) -> None:
    hello = Hello(python="3", torch="2", device="cuda", environment="e", hardware="h200")
    texts = [f"print({json.dumps(json.dumps(text))}, flush=True)\nimport time; time.sleep(60)" for text in _hellos(hello)]
    one, other = (own_harness(tmp_path / str(number), text) for number, text in enumerate(texts))
    with pytest.raises(Mistake, match="a duet needs both on one device"), pair(one, other, Setup(), 20):
        pass


def _hellos(hello: Hello) -> list[dict[str, Any]]:
    fields = {name: getattr(hello, name) for name in hello.__struct_fields__} | {"kind": "hello"}
    return [fields, fields | {"device": "cpu"}]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Neither the worker nor a process that it started outlives an interrupt."""
    started = "import subprocess, sys, time\nchild = subprocess.Popen(['sleep', '1000'])\n"
    side = own_harness(
        tmp_path, started + "print(child.pid, file=open('child', 'w'), flush=True)\nprint('{}', flush=True)\ntime.sleep(1000)"
    )
    with pytest.raises(KeyboardInterrupt), Worker(side, Setup()) as worker:
        assert worker._line(20) == b"{}"
        raise KeyboardInterrupt
    child = int((tmp_path / "child").read_text())
    stat = Path(f"/proc/{child}/stat")
    assert worker._process.returncode == -9
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


# -- interpreters and worktrees -----------------------------------------------------------------------------------------------


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("exit 3", "is not a Python interpreter"),
        ("echo hello", "is not a Python interpreter"),
        ("echo python 3 10", "is Python 3.10; a duet needs 3.11 or newer"),
        ("echo python 3 12 torch", "has no torch; a duet needs torch and msgspec in both interpreters"),
        ("echo python 3 12 torch msgspec", "has no torch and no msgspec; a duet needs torch and msgspec in both interpreters"),
    ],
)
def test_interpreters_that_will_not_do(tmp_path: Path, text: str, sentence: str) -> None:
    path = script(tmp_path / "python", text)
    with pytest.raises(Mistake) as error:
        interpreter(path, "--old")
    assert str(error.value) == f"--old: {path} {sentence}"


def test_missing_interpreter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["duet", "--old", "/nowhere/python"]) == 2
    assert (
        capsys.readouterr().err == "dsbench: --old: /nowhere/python does not exist; expected the path of a Python interpreter\n"
    )
    assert interpreter(sys.executable, "--old") == HERE


def test_something_to_compare_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["duet"]) == 2
    assert "expected --old=PYTHON or --old-ref=GIT_REF" in capsys.readouterr().err


def git(root: Path, *words: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", *names, "-C", str(root), *words], check=True, capture_output=True, text=True, env=environ
    ).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = project(tmp_path / "repository")
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    git(root, "tag", "release-1")
    return root


def test_a_worktree_is_there_and_gone_again(repository: Path) -> None:
    helper = repository / "src/helper.py"
    committed = helper.read_text()
    helper.write_text("changed")
    with pytest.raises(ZeroDivisionError), worktree(repository / "src", "release-1") as folder:
        assert (folder.name, (folder / "helper.py").read_text()) == ("src", committed)
        raise ZeroDivisionError
    assert not folder.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_worktree_mistakes(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(Mistake, match="^--old-ref: unknown git revision 'relaese-1'; did you mean 'release-1'"),
        worktree(repository, "relaese-1"),
    ):
        pass
    with pytest.raises(Mistake, match="^--x: .* is not in a git repository$"), worktree(tmp_path, "HEAD", "--x"):
        pass
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Mistake, match="^--old-ref: git is not installed"), worktree(repository, "HEAD"):
        pass


# -- the command --------------------------------------------------------------------------------------------------------------


def test_a_slower_kernel_is_found(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project(repository, again=4)
    (repository / "shapes").mkdir()
    (repository / "shapes/doubled.toml").write_text('operator = "duet_doubled"\ncase = [{ rows = 512 }]\n')
    monkeypatch.chdir(repository)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    file = tmp_path / "duels.jsonl"
    assert main(["duet", "--old-ref", "release-1", "-k", "doubled or bench_add and 64", "--pairs", "1", "--json", str(file)]) == 1
    said = capsys.readouterr().out.splitlines()
    by_case = {line["case"]["operator"]: line for line in map(json.loads, file.read_text().splitlines())}
    assert by_case["duet_doubled"]["outcome"] == "regressed" and by_case["duet_doubled"]["change"] > 0.5
    assert (by_case["add"]["case"]["dims"], len(by_case["add"]["deltas"])) == ({"rows": 64}, 1)
    assert said[0].startswith("case ") and len([line for line in said if line.startswith(("add[64] own ", "duet_doubled"))]) == 2
    assert " regressed" in said[-1]


def test_selections_that_hold_nothing(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["duet", "--old-ref", "HEAD", "-k", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("dsbench: no case is selected; ")
    assert main(["duet", "nowhere", "--old-ref", "HEAD"]) == 2
    assert capsys.readouterr().err == "dsbench: pytest cannot collect the benches: file or directory not found: nowhere\n"


def test_a_busy_device(
    monkeypatch: pytest.MonkeyPatch, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pytest_dsbench.commands import duet as command
    from pytest_dsbench.duet.cases import Listing
    from pytest_dsbench.lock import device_lock

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(
        command, "_listed", lambda *_: Listing(root=str(repository), lock="GPU-of-a-test", cases=(planned("good"),))
    )
    with device_lock("GPU-of-a-test"):
        assert main(["duet", "--old-ref", "HEAD"]) == 2
    assert "is measuring on device GPU-of-a-test" in capsys.readouterr().err
