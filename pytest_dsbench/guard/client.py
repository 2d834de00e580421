"""The guard as the process that it guards sees it: started, told what happens, dismissed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds a guard that was dismissed may take.
_PARTING = 5.0


class Guard:
    """The guard of this process. A guard that is gone is missed in silence: it is nothing that a case depends on."""

    def __init__(self, notes: Path | None = None, speaks: bool = True) -> None:
        """`notes`: the folder where it leaves word of whom it killed. `speaks`: whether it may write to this stderr."""
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            # -P: the modules of this package are no modules of a script.
            [sys.executable, "-P", str(Path(__file__).with_name("process.py")), str(self._owner), str(notes or "")],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=None if speaks else subprocess.DEVNULL,
            # Ctrl-C, and whoever kills a group of processes, does not reach it.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @contextmanager
    def case(self, node: str, seconds: float | None) -> Iterator[None]:
        """A case that may take so long; None for any time."""
        self._tell(do="case", node=node, seconds=seconds)
        try:
            yield
        finally:
            self._tell(do="end")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A while that does not count."""
        self._tell(do="pause")
        try:
            yield
        finally:
            self._tell(do="resume")

    def file(self, path: Path) -> None:
        """The run file that it completes if this process comes to a sudden end."""
        self._tell(do="file", path=str(path.absolute()))

    def done(self, node: str) -> None:
        """A planned case that has its record in that file."""
        self._tell(do="done", node=node)

    def fault(self, node: str, status: str, reason: str) -> None:
        """A case that ended another process, and whose record is yet to be written."""
        self._tell(do="fault", node=node, status=status, reason=reason)

    def dismiss(self) -> None:
        """Lets it go: this process ends as it should."""
        self._tell(do="bye")
        if self._owner != os.getpid():
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PARTING)

    def _tell(self, **order: object) -> None:
        # A forked child has the pipe too, and is not what is guarded.
        if self._owner == os.getpid() and self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
