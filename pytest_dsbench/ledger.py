"""Ledger: the run file of one run while it goes on, and which of its planned cases have their record."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from .guard.client import Guard
from .guard.closing import not_run
from .measurement import Measurement, Planned
from .runs import End, Header, Writer, keep_plan, without_plan
from .verdict import Confirmation, Verdict


class Ledger:
    """One run file. Every line is on the disk, and known to the guard, before the next case begins."""

    def __init__(self, folder: Path, header: str, plan: str, guard: Callable[[], Guard | None]) -> None:
        """Opens the file; `header`, and `plan`, the cases by node id, are JSON. Raises OSError where it cannot be written."""
        self.header = msgspec.json.decode(header, type=Header)
        self.planned: Mapping[str, Planned] = dict(msgspec.json.decode(plan, type=list[tuple[str, Planned]]))
        self.found: list[Measurement] = []
        self.confirmed: list[Confirmation] = []
        #: node ids of cases with a record
        self.recorded: set[str] = set()
        #: and of those of them that were not run
        self._not_run: list[str] = []
        self._writer = Writer(folder, self.header)
        keep_plan(self._writer.path, self.planned)
        self._guard = guard()
        if self._guard is not None:
            self._guard.file(self.path)

    @property
    def path(self) -> Path:
        """The file."""
        return self._writer.path

    def keep(self, node: str, result: Measurement) -> None:
        """The record of a case."""
        self.found.append(result)
        self._writer.append(result)
        self._not_run += [node] if result.status == "not_run" else []
        self.recorded.add(node)
        if self._guard is not None:
            self._guard.done(node)

    def confirm(self, confirmation: Confirmation) -> None:
        """What the gate measured again."""
        self.confirmed.append(confirmation)
        self._writer.append(confirmation)

    def judge(self, verdict: Verdict) -> None:
        """What the gate said."""
        self._writer.append(verdict)

    def suspect(self, node: str, result: Measurement) -> None:
        """A case that ended another process, and whose record waits: the guard writes it should this process end before that."""
        if self._guard is not None:
            self._guard.fault(node, result.status, result.reason or "")

    def complete(self, reason: str) -> None:
        """Every planned case without a record gets one that says why it was not run."""
        for node, result in not_run(self.planned, self.recorded, reason).items():
            self.keep(node, result)

    def close(self) -> None:
        """The last line."""
        self._writer.append(End(planned=len(self.planned), produced=len(self.found), not_run=tuple(self._not_run)))
        self._writer.close()
        without_plan(self.path)
