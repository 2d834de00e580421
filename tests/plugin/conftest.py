"""Fixtures of the tests that run pytest."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from project import Project

from pytest_dsbench import find, peaks, providers, trial
from pytest_dsbench.clock import cpu


@pytest.fixture(scope="session")
def roof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder with the measured roof of this CPU in it, so that no run measures it again."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        torch.set_num_threads(peaks.cores())
        peaks.measure()
    providers.load()
    # Brings in all that torch loads late: what a run in this process loads is unloaded after it, and not made for that.
    op = find("rms_norm").build({"tokens": 2, "hidden": 8})
    trial.run(op, op.providers["torch"], [trial.content(op, "cpu", number) for number in (0, 1)], [], "cpu")
    yield folder


@pytest.fixture
def project(pytester: pytest.Pytester, roof: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(roof))
    # These tests are about the CPU, on a machine with a GPU too.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    # Where CI is set, pytest prints its short summary at full length: these tests read one and the same output everywhere.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "COLUMNS", "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    # However busy this machine is, its samples count.
    monkeypatch.setattr(cpu, "_ON_CORE", 0.0)
    monkeypatch.setattr(cpu, "_OTHERS", 1e9)
    # The roof was measured a moment ago.
    monkeypatch.setattr(peaks, "_glance", lambda: (0.0, 0.0))
    # Wide enough that pytest cuts no sentence.
    monkeypatch.setenv("COLUMNS", "200")
    return Project(pytester)
