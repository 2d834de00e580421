"""In the process that hears of all cases: which of them ended a worker, how, and whether they would do it again."""

from dataclasses import dataclass
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any

import pytest

from ..guard.note import take
from ..measurement import Measurement, Planned, Status
from .replay import Replayed, Stage, ending, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

#: What pytest-xdist says of such a case.
CRASHED = "crashed while running"
#: More replays than this tell nothing new, and may take as long as the run itself.
_MOST = 25
#: Seconds within which a worker whose pipe is closed has ended.
_PARTING = 5.0


@dataclass
class Ended:
    """A case that ended its worker."""

    node: str
    case: Planned
    status: Status
    reason: str
    #: what the worker was told when it began: where it ran
    workerinput: "Mapping[str, Any]"
    #: node id of the bench that this worker ran before, if it did
    before: str | None
    #: and what that said of it before anything was known
    report: pytest.TestReport
    sentence: str


class Aftermath:
    """The workers of one run."""

    def __init__(self, config: pytest.Config, notes: "Callable[[], Path | None]") -> None:
        self._config = config
        self._notes = notes
        self.ended: dict[str, Ended] = {}
        #: the last two nodes that each worker reported on
        self._course: dict[str, list[str]] = {}
        self._left = _MOST

    def heard(self, report: pytest.TestReport) -> None:
        """Notes the order of cases."""
        worker = getattr(report, "node", None)
        if worker is not None and CRASHED not in report.longreprtext:
            course = self._course.setdefault(worker.gateway.id, [])
            if report.nodeid not in course:
                course[:] = [*course[-1:], report.nodeid]

    def crashed(self, report: pytest.TestReport, planned: "Mapping[str, Planned]", recorded: bool) -> Ended:
        """What is known of a case that ended its worker; `recorded`: after it had its result, when it was torn down.

        Every such worker is replaced: the case is not run again.
        """
        worker: Any = getattr(report, "node", None)
        note = take(self._notes(), report.nodeid)
        status, reason = (note.status, note.reason) if note else ("crashed", f"ended its process{_how(worker)}")
        course = self._course.get(worker.gateway.id, []) if worker is not None else []
        before = [node for node in course if node != report.nodeid and node in planned]
        sentence = str(report.longrepr)
        report.longrepr = f"{sentence}: it {reason}"
        found = Ended(
            node=report.nodeid,
            case=planned[report.nodeid],
            status=status,
            reason=reason,
            workerinput=getattr(worker, "workerinput", {}),
            before=before[-1] if before else None,
            report=report,
            sentence=sentence,
        )
        if not recorded:
            self.ended[found.node] = found
        self._allow_another()
        return found

    def _allow_another(self) -> None:
        """Four workers may be replaced for each there is, says pytest-xdist, for fear of workers that end while they collect."""
        distributed = self._config.pluginmanager.getplugin("dsession")
        if getattr(self._config.option, "maxworkerrestart", None) is None:
            most = getattr(distributed, "_max_worker_restart", None)
            if isinstance(most, int):
                distributed._max_worker_restart = most + 1

    def results(
        self, planned: "Mapping[str, Planned]", deadline: float | None, replays: bool
    ) -> "Iterator[tuple[str, Measurement]]":
        """The records of these cases, each with what its replay found."""
        invocation = self._config.invocation_params
        args = tuple(str(word) for word in invocation.args)
        stage = Stage(args=args, folder=invocation.dir, notes=self._notes(), deadline=deadline)
        for one in self.ended.values():
            reason = one.reason
            try:
                if replays:
                    reason = f"{reason}; {self._replayed(stage, one, planned)}"
            except KeyboardInterrupt:
                replays = False
            one.report.longrepr = f"{one.sentence}: it {reason}"
            yield one.node, Measurement(case=one.case, status=one.status, reason=reason)

    def _replayed(self, stage: Stage, one: Ended, planned: "Mapping[str, Planned]") -> str:
        found = self._again(stage, one.node, one)
        if found is None:
            return f"not replayed: {_MOST} case{'s were' if _MOST != 1 else ' was'}"
        if found.guilty is not False:
            return found.sentence
        if one.before is None:
            return f"{found.sentence}; it was the first case of that worker"
        said = f"{found.sentence}; the case before it on that worker was {planned[one.before].name}"
        other = self._again(stage, one.before, one)
        if other is None:
            return said
        return f"{said}: {'innocent too' if other.guilty is False else other.sentence}"

    def _again(self, stage: Stage, node: str, one: Ended) -> Replayed | None:
        if not self._left:
            return None
        self._left -= 1
        return replay(stage, node, one.workerinput)


def _how(worker: Any) -> str:
    """The exit code or the signal of a worker that is a process of this machine."""
    process = getattr(getattr(getattr(worker, "gateway", None), "_io", None), "popen", None)
    if process is None:
        return ""
    try:
        return f" ({ending(process.wait(_PARTING))})"
    except TimeoutExpired:
        return ""
