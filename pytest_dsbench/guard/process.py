"""The guard: kills its parent at the deadline of a case, and completes the run file when the parent is gone.

A script of its own that loads nothing but the standard library, so that it is there at once; orders come as JSON lines on its
stdin. It never asks the parent to end: what hangs in C, or ignores every other signal, does not hear it.
"""

import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

#: Seconds between two looks at the parent where the system cannot tell of its end, and how long one that was killed may take.
_GLANCE = 0.5
_DYING = 10.0


class Guard:
    """What the guard knows of its parent."""

    def __init__(self, parent: int, notes: str) -> None:
        self._parent = parent
        self._notes = notes
        #: of the parent, so that nobody else who was given its number is killed; None where the system has no such thing
        self._handle = _handle(parent)
        self._buffer = b""
        self._open = True
        self._bye = False
        #: the case that runs, the seconds it may take, what is left of them and since when that counts
        self._node: str | None = None
        self._limit: float | None = None
        self._left: float | None = None
        self._since: float | None = None
        self._last = ""
        self._file: str | None = None
        self._done: set[str] = set()
        #: status and reason of cases that ended a process
        self._faults: dict[str, Any] = {}
        self._killed: float | None = None

    def run(self) -> None:
        """Watches until it is dismissed or the parent is gone."""
        os.set_blocking(0, False)
        gone = False
        while not gone:
            gone = self._wait()
            if self._hear():
                return
            if self._killed is None and self._overdue():
                self._kill()
        self._close()

    def _wait(self) -> bool:
        """Waits for an order, the deadline or the end of the parent; whether that is what came."""
        pause = self._until_deadline()
        if self._killed is not None:
            pause = max(self._killed + _DYING - monotonic(), 0.0)
        if self._handle is None:
            pause = _GLANCE if pause is None else min(pause, _GLANCE)
        sources = ([0] if self._open else []) + ([self._handle] if self._handle is not None else [])
        ready, _, _ = select.select(sources, [], [], pause)
        if self._killed is not None and monotonic() >= self._killed + _DYING:
            return True  # stuck inside a driver: it ends when that lets it
        # The handle tells at once; without one, a process that is gone has left its child to another.
        return self._handle in ready if self._handle is not None else os.getppid() != self._parent

    def _hear(self) -> bool:
        """Takes all orders that have arrived; whether it is dismissed."""
        with suppress(BlockingIOError):
            while self._open:
                more = os.read(0, 2**16)
                self._open = bool(more)
                self._buffer += more
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return self._bye

    def _obey(self, order: dict[str, Any]) -> None:
        match order:
            case {"do": "case", "node": node, "seconds": seconds}:
                self._node, self._limit, self._left, self._since = node, seconds, seconds, monotonic()
            case {"do": "pause"}:
                self._left, self._since = self._until_deadline(), None
            case {"do": "resume"}:
                self._since = monotonic()
            case {"do": "end"}:
                self._last = self._node or self._last
                self._node, self._left = None, None
            case {"do": "file", "path": path}:
                self._file = path
            case {"do": "done", "node": node}:
                self._done.add(node)
            case {"do": "fault", "node": node, "status": status, "reason": reason}:
                self._faults[node] = (status, reason)
            case {"do": "bye"}:
                self._bye = True

    def _until_deadline(self) -> float | None:
        """Seconds; None where nothing is due."""
        if self._left is None or self._since is None:
            return None
        return max(self._left - (monotonic() - self._since), 0.0)

    def _overdue(self) -> bool:
        return self._node is not None and self._until_deadline() == 0.0

    def _kill(self) -> None:
        assert self._node is not None
        reason = f"took longer than the deadline of {self._limit:g} s, and its process was killed"
        self._faults[self._node] = ("timed_out", reason)
        if self._notes:
            # Before the kill: whoever hears of that finds the note.
            path = Path(self._notes) / f"{self._parent}.json"
            path.with_suffix(".new").write_text(json.dumps({"node": self._node, "status": "timed_out", "reason": reason}))
            path.with_suffix(".new").replace(path)
        with suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            elif os.getppid() == self._parent:
                os.kill(self._parent, signal.SIGKILL)
        self._killed = monotonic()

    def _close(self) -> None:
        """Completes the run file, if the parent wrote one."""
        if self._file is None:
            return
        # At the end: modules of the package have names that others have too.
        sys.path.append(str(Path(__file__).parents[2]))
        from pytest_dsbench.guard.closing import close

        line = close(Path(self._file), self._done, self._faults, self._node, self._last)
        if line:
            print(f"\n{line}", file=sys.stderr, flush=True)


def _handle(parent: int) -> int | None:
    try:
        handle = os.pidfd_open(parent)
    except (AttributeError, OSError):
        return None
    if os.getppid() == parent:
        return handle
    os.close(handle)  # it was gone before, and the number may be another's by now
    return None


if __name__ == "__main__":
    # It ends when the parent does, and not when somebody ends all of a terminal.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    Guard(int(sys.argv[1]), sys.argv[2]).run()
