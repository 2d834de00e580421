"""The lock of a device."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pytest_dsbench.lock import device_lock
from pytest_dsbench.mistake import Mistake

HOLD = "from pytest_dsbench.lock import device_lock\nwith device_lock('GPU-1'):\n"


def _environ(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_free_again_afterwards(folder: Path) -> None:
    for _ in range(2):
        with device_lock("GPU-1"):
            assert (folder / "dsbench-GPU-1.lock").read_text().strip() == str(os.getpid())
    assert (folder / "dsbench-GPU-1.lock").read_text() == ""


def test_it_is_free_after_an_error() -> None:
    with pytest.raises(ValueError, match="mine"), device_lock("GPU-1"):
        raise ValueError("mine")
    with device_lock("GPU-1"):
        pass


def test_devices_do_not_share_a_lock() -> None:
    with device_lock("GPU-1"), device_lock("GPU-2"):
        pass


def test_those_who_only_check_share_it() -> None:
    measuring = pytest.raises(Mistake, match="is measuring on device GPU-1")
    with device_lock("GPU-1", shared=True), device_lock("GPU-1", shared=True), measuring, device_lock("GPU-1"):
        pass
    with device_lock("GPU-1"), pytest.raises(Mistake, match="is measuring on device GPU-1"), device_lock("GPU-1", shared=True):
        pass


def test_the_holder_is_named(folder: Path) -> None:
    code = "import sys\n" + HOLD + "    print('held', flush=True)\n    sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environ(folder)
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(Mistake, match=f"process {other.pid} is measuring on device GPU-1"), device_lock("GPU-1"):
            pass
        other.communicate()
    with device_lock("GPU-1"):
        pass


def test_a_killed_holder_frees_it(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", "import os\n" + HOLD + "    os._exit(0)"], check=True, env=_environ(folder))
    assert (folder / "dsbench-GPU-1.lock").read_text() != ""
    with device_lock("GPU-1"):
        pass


def test_a_key_cannot_leave_the_folder(folder: Path) -> None:
    with device_lock("../a b/c"):
        assert [path.name for path in folder.iterdir()] == ["dsbench-.._a_b_c.lock"]
