"""The environment, its key, and reading a commit without git."""

import os
import subprocess
from pathlib import Path
from shutil import which

import pytest

from pytest_dsbench import environment
from pytest_dsbench.environment import Environment, commit
from pytest_dsbench.record import from_line, to_line

GPU = Environment(
    device="cuda",
    gpu="NVIDIA H200",
    uuid="a",
    memory=150_000_000_000,
    sms=132,
    ecc=True,
    mig=False,
    power_limit=700.0,
    driver="570.1",
    cuda="12.8",
    torch="2.9",
)


def test_reads_this_machine() -> None:
    pytest.importorskip("torch")
    found = environment.read("cpu")
    assert found.device == "cpu" and found.gpu is None and found.driver is None
    assert found.cpu and found.affinity and found.threads
    assert found.python and found.platform and found.hostname
    assert found.started.endswith("+00:00")
    assert environment.read("cpu").key() == found.key()


def test_travels_as_a_line() -> None:
    again = from_line(to_line(GPU), Environment, "here")
    assert again == GPU and again.key() == GPU.key()


def test_the_key_is_stable() -> None:
    assert GPU.key() == "913646e63027"


@pytest.mark.parametrize(
    "change",
    [
        {"gpu": "NVIDIA H100"},
        {"memory": 1},
        {"sms": 1},
        {"mig": True},
        {"ecc": None},
        {"power_limit": 500.0},
        {"locked_clock": 1.4e9},
        {"driver": "580.1"},
        {"cuda": "13.0"},
        {"torch": "2.10"},
        {"cpu": "x"},
        {"affinity": (0, 1)},
        {"threads": 2},
    ],
)
def test_what_must_match(change: dict[str, object]) -> None:
    assert GPU.replace(**change).key() != GPU.key()


@pytest.mark.parametrize(
    "change",
    [
        {"uuid": "b"},
        {"temperature": 80},
        {"commit": "c"},
        {"hostname": "d"},
        {"started": "e"},
        {"host_cpu": "f"},
        {"python": "3.14"},
        {"version": "2"},
    ],
)
def test_what_is_only_recorded(change: dict[str, object]) -> None:
    assert GPU.replace(**change).key() == GPU.key()


HASH = "0123456789abcdef0123456789abcdef01234567"


def _repository(at: Path, head: str = "ref: refs/heads/main\n") -> Path:
    (at / ".git" / "refs" / "heads").mkdir(parents=True)
    (at / ".git" / "HEAD").write_text(head)
    return at


def test_commit_of_a_branch_from_below(tmp_path: Path) -> None:
    (_repository(tmp_path) / ".git" / "refs" / "heads" / "main").write_text(HASH + "\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert commit(tmp_path / "a" / "b") == HASH


def test_commit_of_a_detached_head(tmp_path: Path) -> None:
    assert commit(_repository(tmp_path, HASH + "\n")) == HASH


def test_commit_of_a_packed_branch(tmp_path: Path) -> None:
    packed = f"# pack-refs with: peeled\n{'f' * 40} refs/heads/mainly\n{HASH} refs/heads/main\n^{'e' * 40}\n"
    (_repository(tmp_path) / ".git" / "packed-refs").write_text(packed)
    assert commit(tmp_path) == HASH


def test_no_commit_before_the_first_one(tmp_path: Path) -> None:
    assert commit(_repository(tmp_path)) is None


@pytest.mark.skipif(which("git") is None, reason="needs git, to be held against it")
def test_commit_of_a_worktree(tmp_path: Path) -> None:
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    environ |= {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=tmp_path, env=environ, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet", "main")
    git("-C", "main", "commit", "--quiet", "--allow-empty", "-m", "one")
    git("-C", "main", "worktree", "add", "--quiet", "-b", "other", "../tree")
    head = git("-C", "main", "rev-parse", "HEAD").strip()
    assert commit(tmp_path / "tree") == head
    assert commit(tmp_path / "main") == head
    git("-C", "main", "pack-refs", "--all")
    assert commit(tmp_path / "tree") == head
