"""One run at a time on a GPU: two timing processes on one device ruin each other's numbers."""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .mistake import Mistake


@contextmanager
def device_lock(key: str, shared: bool = False) -> Iterator[None]:
    """Holds the lock of the device `key` (a GPU's UUID). Raises Mistake naming a process that holds it already.

    Processes that only check, and time nothing, share it with each other.
    """
    path = Path(tempfile.gettempdir()) / f"dsbench-{re.sub(r'[^A-Za-z0-9_.-]', '_', key)}.lock"
    file = _open(path)
    try:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip()
            who = f"process {holder}" if holder else "another process"
            raise Mistake(f"{who} is measuring on device {key}; wait for it to end (lock: {path})") from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            # Unlocked by hand, since a forked child may still have the file open; never removed, since another process may
            # be about to lock this very file.
            os.ftruncate(file, 0)
            fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)


def _open(path: Path) -> int:
    """The lock file, shared by all users of the machine."""
    try:
        # Without O_CREAT first: the kernel may refuse it for a file of somebody else's in a shared folder.
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        if os.fstat(file).st_uid == os.getuid():
            os.fchmod(file, 0o666)  # whatever the umask says
        return file
