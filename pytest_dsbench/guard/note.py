"""Notes: what a process that is about to end leaves for the one that hears of it."""

import os
from contextlib import suppress
from pathlib import Path

from ..measurement import Status
from ..mistake import Mistake
from ..record import Record, from_line, to_line


class Note(Record):
    """Which case ended a process, and why."""

    node: str
    status: Status
    reason: str


def leave(folder: Path, note: Note) -> None:
    """Leaves the note of this process."""
    path = folder / f"{os.getpid()}.json"
    path.with_suffix(".new").write_bytes(to_line(note))
    path.with_suffix(".new").replace(path)


def take(folder: Path | None, node: str) -> Note | None:
    """The note about a case, which is gone then."""
    for path in sorted(folder.glob("*.json")) if folder is not None else ():
        with suppress(Mistake, OSError):
            note: Note = from_line(path.read_bytes(), Note, str(path))
            if note.node == node:
                path.unlink()
                return note
    return None
