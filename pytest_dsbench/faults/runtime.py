"""Where cases run: what is done about one that hangs, ends its process or leaves its device unusable."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..guard.client import Guard
from ..guard.note import Note, leave
from ..measurement import Measurement
from ..selection import planned_case
from ..sticky import lasting
from ..workers import NOTES

if TYPE_CHECKING:
    from ..rig import Rig

#: What the first result of a worker brings along: the run's header, and what it is to produce.
HEADER = "dsbench_run"
PLAN = "dsbench_plan"
#: The same in the folder for notes, should the worker end before its first result.
OPENING = "opening"
_GUARD: pytest.StashKey[Guard | None] = pytest.StashKey()


def notes_of(config: pytest.Config) -> Path | None:
    """The folder for notes of a worker whose controller shares its disk; None elsewhere."""
    folder = getattr(config, "workerinput", {}).get(NOTES)
    return Path(folder) if folder and Path(folder).is_dir() else None


def guard_of(config: pytest.Config) -> Guard | None:
    """The guard of this process, started when it is first asked for; None where no process can be started."""
    if _GUARD not in config.stash:
        worker = hasattr(config, "workerinput")
        capture = config.pluginmanager.getplugin("capturemanager")
        # It speaks when this process is gone, to the terminal and not to what is captured of a test.
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            try:
                config.stash[_GUARD] = Guard(notes_of(config), speaks=not worker)
            except OSError:
                config.stash[_GUARD] = None
    return config.stash[_GUARD]


def dismiss(config: pytest.Config) -> None:
    """Lets the guard go, where there is one."""
    guard = config.stash.get(_GUARD, None)
    if guard is not None:
        guard.dismiss()
        config.stash[_GUARD] = None


@contextmanager
def paused(config: pytest.Config) -> Iterator[None]:
    """A while that does not count towards the deadline of the case."""
    guard = config.stash.get(_GUARD, None)
    with guard.paused() if guard is not None else nullcontext():
        yield


def open_run(item: pytest.Item, header: str, plan: str) -> None:
    """Hands what the run is, and what it is to produce, to the recorder: here, or of the controller."""
    recorder = item.config.pluginmanager.getplugin("dsbench-recorder")
    if recorder is not None:
        recorder.begin(header, plan)
        return
    item.user_properties += [(HEADER, header), (PLAN, plan)]
    folder = notes_of(item.config)
    if folder is not None:
        new = folder / f"{os.getpid()}.{OPENING}"
        new.write_text(f"{header}\n{plan}\n", encoding="utf-8")
        new.replace(folder / OPENING)


class Faults:
    """The cases of one process."""

    def __init__(self, config: pytest.Config, deadline: float | None) -> None:
        self._config = config
        self._deadline = deadline
        #: who left the device unusable
        self._culprit: str | None = None

    @contextmanager
    def guarded(self, item: pytest.Item) -> Iterator[None]:
        """Set-up, call and tear-down of one bench."""
        guard = guard_of(self._config)
        with guard.case(item.nodeid, self._deadline) if guard is not None else nullcontext():
            yield

    def refusal(self, item: pytest.Item) -> Measurement | None:
        """The record of a case that must not begin, since an earlier one left the device unusable."""
        if self._culprit is None:
            return None
        reason = f"{self._culprit} left the device unusable"
        return Measurement(case=planned_case(item), status="not_run", reason=reason)

    def look(self, item: pytest.Item, error: BaseException | None, rig: "Rig | None") -> None:
        """After each phase of a bench: a device that is lost is lost for all that follows.

        A worker ends here, inside the case that did it, and is replaced; a process of its own goes on, and measures no more.
        """
        if self._culprit is not None:
            return
        said = None if rig is None or rig.alive() else rig.lost
        said = said or (lasting(error) if error is not None else None)
        if said is None:
            return
        if hasattr(self._config, "workerinput"):
            folder = notes_of(self._config)
            if folder is not None:
                leave(folder, Note(node=item.nodeid, status="crashed", reason=f"left the device unusable: {said}"))
            os._exit(1)
        self._culprit = planned_case(item).name
