"""A case that ended a worker is run once more, alone in a process of its own, with synchronous launches: was it the culprit?"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from ..guard.note import take
from ..measurement import Measurement
from ..record import Record

#: What a process may take beside its case: to start, to collect, to find its device. Seconds.
_AROUND = 300.0
_START = (
    "import pickle, sys; order = pickle.load(sys.stdin.buffer); sys.path[:] = order['path'];"
    " from pytest_dsbench.faults.replaying import main; main(order)"
)


class Replayed(Record):
    """What became of a case alone."""

    #: None where that could not be found out
    guilty: bool | None
    #: how it ended its process, or what it was where it did not
    said: str = ""

    @property
    def sentence(self) -> str:
        """A part of a reason."""
        if self.guilty is None:
            return f"could not be replayed ({self.said})"
        if self.guilty:
            return f"again when replayed alone ({self.said})"
        return f"innocent when replayed alone with synchronous launches{self.said and f', where it {self.said}'}"


class Stage(Record):
    """Where cases of a session can be replayed."""

    #: of the session: its command line, and the folder it was given in
    args: tuple[str, ...]
    folder: Path
    #: where its workers leave notes
    notes: Path | None
    #: seconds a case may take; its own guard sees to that
    deadline: float | None


def replay(stage: Stage, node: str, workerinput: Mapping[str, Any]) -> Replayed:
    """Runs one case as the worker with this input would have run it."""
    with TemporaryDirectory(prefix="dsbench-replay-") as folder:
        result = Path(folder) / "result"
        order = {
            "path": sys.path,
            "args": stage.args,
            "node": node,
            "workerinput": dict(workerinput),
            "result": str(result),
            "basetemp": str(Path(folder) / "tmp"),
        }
        code = _run(pickle.dumps(order), stage)
        note = take(stage.notes, node)
        if note is not None:
            return Replayed(guilty=True, said=note.reason)
        survived = result.with_suffix(".end").exists()
        if survived:
            code = int(result.with_suffix(".end").read_text())
        if code is None or not result.with_suffix(".begun").exists():
            how = "did not get to it in time" if code is None else f"ended before it ({ending(code)})"
            return Replayed(guilty=None, said=f"its process {how}")
        if not survived:
            return Replayed(guilty=True, said=ending(code))
        if not result.exists():
            return Replayed(guilty=None, said=f"pytest ended with exit code {code} and without a record")
        found = msgspec.json.decode(result.read_bytes(), type=Measurement)
    return Replayed(guilty=False, said="" if found.ok else f"was {found.status}: {found.reason}")


def ending(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _run(order: bytes, stage: Stage) -> int | None:
    process = subprocess.Popen(
        [sys.executable, "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=stage.folder,
        env={**os.environ, "CUDA_LAUNCH_BLOCKING": "1"},
        # It ends with all that it started.
        start_new_session=True,
    )
    try:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(order, None if stage.deadline is None else stage.deadline + _AROUND)
        return process.returncode
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
