"""Environment: where a run happened, and the key that says which runs may be compared with it."""

import hashlib
import os
import platform
import re
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from .hardware import device as devices
from .nvml import Nvml
from .record import Record
from .units import show_memory

#: What must be equal between two runs. The rest is recorded only.
_MATCHED = (
    "device",
    "gpu",
    "memory",
    "sms",
    "mig",
    "ecc",
    "power_limit",
    "locked_clock",
    "driver",
    "cuda",
    "torch",
    "cpu",
    "affinity",
    "threads",
)


#: Recorded fields whose change may explain another.
_TOLD = ("host_cpu", "python", "version")


class Environment(Record):
    """Device, driver, libraries and process of one run. What a device does not have, or does not tell, is None."""

    #: "cuda" or "cpu"
    device: str
    gpu: str | None = None
    uuid: str | None = None
    #: bytes of the GPU's memory
    memory: int | None = None
    sms: int | None = None
    ecc: bool | None = None
    mig: bool | None = None
    #: watts
    power_limit: float | None = None
    #: Hz where somebody set the applications clock
    locked_clock: float | None = None
    max_clock: float | None = None
    #: degrees Celsius at the start
    temperature: int | None = None
    driver: str | None = None
    cuda: str | None = None
    torch: str | None = None
    #: of a GPU run the host's CPU is recorded, but not matched
    host_cpu: str | None = None
    #: of a CPU run: model, cores it may use, torch threads
    cpu: str | None = None
    affinity: tuple[int, ...] = ()
    threads: int | None = None
    python: str = ""
    platform: str = ""
    hostname: str = ""
    #: of the current directory
    commit: str | None = None
    #: ISO 8601, UTC
    started: str = ""
    #: of this plugin
    version: str = ""

    def key(self) -> str:
        """Equal for runs that may be compared: a hash of the matched fields, stable between versions of Python."""
        return hashlib.sha256(msgspec.json.encode([(name, getattr(self, name)) for name in _MATCHED])).hexdigest()[:12]


def differences(then: Environment, now: Environment, matched: bool = True) -> tuple[str, ...]:
    """What is not as it was, such as "driver 570.1 -> 580.2", among the matched fields or among the others worth telling."""
    pairs = ((name, getattr(then, name), getattr(now, name)) for name in (_MATCHED if matched else _TOLD))
    return tuple(f"{name.replace('_', ' ')} {shown(name, a)} -> {shown(name, b)}" for name, a, b in pairs if a != b)


def shown(name: str, value: Any) -> str:
    """A field of an environment for people."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    words = {
        "memory": lambda: show_memory(value),
        "power_limit": lambda: f"{value:.0f} W",
        "max_clock": lambda: f"{value / 1e6:.0f} MHz",
        "locked_clock": lambda: f"{value / 1e6:.0f} MHz",
        "affinity": lambda: f"cores {_ranges(value)}",
    }
    return words[name]() if name in words else str(value)


def _ranges(numbers: Sequence[int]) -> str:
    """0, 1, 2, 5 -> "0-2,5"."""
    runs = [[number for _, number in group] for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def read(device: str) -> Environment:
    """The environment of this process on `device` ("cpu", "cuda", "cuda:1")."""
    import torch

    common = Environment(
        device="cpu" if device == "cpu" else "cuda",
        torch=str(torch.__version__),
        host_cpu=devices.cpu().name,
        python=platform.python_version(),
        platform=platform.platform(),
        hostname=socket.gethostname(),
        commit=commit(Path.cwd()),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        version=own_version(),
    )
    if device == "cpu":
        return common.replace(cpu=common.host_cpu, affinity=_affinity(), threads=torch.get_num_threads())
    gpu = devices.gpu(torch.device(device).index)
    nvml = Nvml.open(gpu.uuid or gpu.index or 0)
    common = common.replace(gpu=gpu.name, uuid=gpu.uuid, memory=gpu.memory, sms=gpu.sms, cuda=torch.version.cuda)
    if nvml is None:
        return common.replace(driver=_driver())
    return common.replace(
        ecc=nvml.ecc(),
        mig=nvml.mig(),
        power_limit=nvml.power_limit(),
        locked_clock=nvml.locked_clock(),
        max_clock=nvml.max_sm_clock(),
        temperature=nvml.temperature(),
        driver=nvml.driver(),
    )


def commit(directory: Path) -> str | None:
    """The commit checked out in the git repository around `directory`, read from git's files, or None."""
    for place in (directory, *directory.parents):
        if (place / ".git").exists():
            return _head(_git_directory(place))
    return None


def _git_directory(place: Path) -> Path:
    """Where git keeps its files: in a worktree or submodule, .git is a file that names it."""
    git = place / ".git"
    if git.is_file():
        return place / _text(git).removeprefix("gitdir:").strip()
    return git


def _head(git: Path) -> str | None:
    head = _text(git / "HEAD").strip()
    if not head.startswith("ref:"):
        return head or None
    name = head.removeprefix("ref:").strip()
    # A worktree has a HEAD of its own and shares the branches.
    shared = git / (_text(git / "commondir").strip() or ".")
    for base in (git, shared):
        found = _text(base / name).strip()
        if found:
            return found
    packed = (line.split() for line in _text(shared / "packed-refs").splitlines())
    return next((words[0] for words in packed if words[1:] == [name]), None)


def _text(path: Path) -> str:
    """The text of a small file; empty where it is not there or not ours to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _driver() -> str | None:
    """NVIDIA's driver without NVML, as the kernel module states it."""
    found = re.search(r"Module\D*([0-9]+(?:\.[0-9]+)+)", _text(Path("/proc/driver/nvidia/version")))
    return found.group(1) if found else None


def _affinity() -> tuple[int, ...]:
    """The cores this process may run on; macOS does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else tuple(range(os.cpu_count() or 1))


def own_version() -> str:
    """The version of this package."""
    try:
        return version("pytest-dsbench")
    except PackageNotFoundError:
        return "unknown"
