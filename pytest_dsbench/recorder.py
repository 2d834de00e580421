"""Writes results as they arrive, judges the run when it is over and prints the summary; in the one process that hears of all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from .faults.aftermath import Aftermath
    from .gate.finish import Finish
    from .ledger import Ledger
    from .options import Options
    from .runs import Header

#: As in fixture.py, faults.py and aftermath.py, which are not loaded in a run without benches.
_RECORD, _HEADER, _PLAN, _CONFIRMATION = "dsbench", "dsbench_run", "dsbench_plan", "dsbench_confirmation"
_CRASHED = "crashed while running"
#: In the words of pytest-timeout.
_TIMEOUT = r"\bTimeout \(?>"
_OPENING = "opening"

#: Why a run ends with an exit code of the gate although no test failed.
_REASONS = {
    1: "cases are missing, or many got slower together; see above",
    3: "the environment is not fit to judge; see above",
}


class Recorder:
    """Listens to reports; costs nothing until one of them carries a result of ours."""

    def __init__(
        self, config: pytest.Config, options: Callable[[], Options], notes: Callable[[], Path | None] = lambda: None
    ) -> None:
        self._config = config
        #: asked only when there is a run to write
        self._options = options
        #: the folder where workers leave word of how they ended
        self._notes = notes
        #: of the run, once there is one; with it, what became of its workers
        self._ledger: Ledger | None = None
        self._aftermath: Aftermath | None = None
        #: how many lines of an item were taken: each of its reports carries all it has so far
        self._taken: dict[str, int] = {}
        #: what stopped the run, where something did, and whether that was somebody's hand
        self._stopped: str | None = None
        self._by_hand = False
        self._finish: Finish | None = None
        self._remarks: list[str] = []

    def begin(self, header: str, plan: str) -> None:
        """Opens the run file, unless it is open: before the first case of this process, or with the first word of a worker."""
        if self._ledger is not None:
            return
        from .faults.aftermath import Aftermath
        from .faults.runtime import guard_of
        from .ledger import Ledger

        folder = self._options().runs
        try:
            self._ledger = Ledger(folder, header, plan, lambda: guard_of(self._config))
        except OSError as error:
            raise pytest.UsageError(f"dsbench_runs: cannot write results to {folder}: {error.strerror}") from None
        self._aftermath = Aftermath(self._config, self._notes)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Appends results to the run file as soon as their case has ended."""
        told = {name: str(value) for name, value in report.user_properties}
        if _HEADER in told:
            self.begin(told[_HEADER], told[_PLAN])
            # They have arrived, and are too long for a junit file.
            report.user_properties = [pair for pair in report.user_properties if pair[0] not in (_HEADER, _PLAN)]
        lines = [(name, str(value)) for name, value in report.user_properties if name in (_RECORD, _CONFIRMATION)]
        for name, text in lines[self._taken.get(report.nodeid, 0) :]:
            self._append(report.nodeid, name, text)
        self._taken[report.nodeid] = max(len(lines), self._taken.get(report.nodeid, 0))
        if report.failed and _CRASHED in report.longreprtext:
            self._begin_without_a_word()
        if self._aftermath is not None:
            self._aftermath.heard(report)
        if self._ledger is not None and not report.passed and report.nodeid in self._ledger.planned:
            self._ended(report, self._ledger)

    def _begin_without_a_word(self) -> None:
        """Where a worker ended before its first report, its opening is found in the folder for notes."""
        folder = self._notes()
        if folder is not None and (folder / _OPENING).is_file():
            header, plan = (folder / _OPENING).read_text(encoding="utf-8").splitlines()
            self.begin(header, plan)

    def _append(self, node: str, name: str, text: str) -> None:
        import msgspec

        from .measurement import Measurement
        from .verdict import Confirmation

        assert self._ledger is not None
        if name == _RECORD:
            self._ledger.keep(node, msgspec.json.decode(text, type=Measurement))
        else:
            self._ledger.confirm(msgspec.json.decode(text, type=Confirmation))

    def _ended(self, report: pytest.TestReport, ledger: Ledger) -> None:
        """A planned case that ended without a result has a record all the same."""
        from .measurement import Measurement, Status

        assert self._aftermath is not None
        node, text = report.nodeid, report.longreprtext
        case = ledger.planned[node]
        if _CRASHED in text:
            # In the words of pytest-xdist. Its record waits for the replay.
            found = self._aftermath.crashed(report, ledger.planned, node in ledger.recorded)
            ledger.suspect(node, Measurement(case=case, status=found.status, reason=found.reason))
        elif node not in ledger.recorded:
            status: Status = "skipped" if report.skipped else "timed_out" if re.search(_TIMEOUT, text) else "failed"
            ledger.keep(node, Measurement(case=case, status=status, reason=_reason(report)))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Somebody stopped the run, or pytest-xdist did, for the same reasons as pytest itself."""
        self._by_hand = excinfo.type is KeyboardInterrupt
        self._stopped = "the run was interrupted" if self._by_hand else str(excinfo.value)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """The last records, when all workers are gone; the gate's last word, what is saved, the last line of the run file."""
        try:
            return (yield)
        finally:
            self._close(session)

    def _close(self, session: pytest.Session) -> None:
        if self._ledger is None:
            return
        self._complete(session, self._ledger)
        try:
            self._judge(session, self._ledger)
        finally:
            self._ledger.close()
        self._write_summary(self._ledger)
        self._write_report(self._ledger)

    def _complete(self, session: pytest.Session, ledger: Ledger) -> None:
        """Every planned case has a record."""
        assert self._aftermath is not None
        ended = self._aftermath.ended
        if ended and not self._by_hand and (terminal := self._config.pluginmanager.getplugin("terminalreporter")):
            from .units import show_count

            cases = show_count(len(ended), "case")
            terminal.write_line(f"\ndsbench: replaying {cases} that ended a worker, each alone")
        for node, result in self._aftermath.results(ledger.planned, self._options().deadline, not self._by_hand):
            ledger.keep(node, result)
        stopped = self._stopped or str(session.shouldfail or session.shouldstop or "")
        last = next(reversed(ended.values())).case.name if ended else None
        ledger.complete(stopped or (f"{last} ended the last worker" if last else "the run ended before it was its turn"))

    def _judge(self, session: pytest.Session, ledger: Ledger) -> None:
        options = self._options()
        if not options.gated:
            return
        from .gate.finish import finish
        from .mistake import Mistake

        try:
            self._finish = finish(ledger.found, _covered(ledger), ledger.confirmed, options)
            if options.serving:
                from .commands.served import impacts

                judged, found = self._finish.judged, ledger.found
                told = tuple(impacts(options.serving, "--dsbench-serving", judged, ledger.header, found))
                self._finish = self._finish.replace(impacts=told)
        except Mistake as error:
            raise pytest.UsageError(str(error)) from None
        for verdict in self._finish.judged.verdicts:
            ledger.judge(verdict)
        code = self._finish.judged.code(accepted=options.lowering)
        if code and session.exitstatus == pytest.ExitCode.OK:
            # No test of its own says why.
            session.exitstatus = code
            self._remarks.append(f"exit code {code}: {_REASONS[code]}")

    def _write_summary(self, ledger: Ledger) -> None:
        options = self._options()
        if options.summary is None:
            return
        from .report.summary import summary_lines

        lines = summary_lines(ledger.found, ledger.header, self._finish, ledger.confirmed, options.self_check)
        try:
            options.summary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            self._remarks.append(f"--dsbench-summary: cannot write {options.summary}: {error.strerror}")

    def _write_report(self, ledger: Ledger) -> None:
        options = self._options()
        if options.report is None:
            return
        if self._by_hand:
            # Whoever stops a run does not wait for pictures of it.
            self._remarks.append(
                f"--dsbench-report: not made, since the run was interrupted; dsbench report {self._shown(ledger.path)} makes it"
            )
            return
        from .environment import own_version
        from .mistake import Mistake
        from .report.bundle import bundle
        from .results import collect

        try:
            self._remarks += [f"report: {line}" for line in bundle(collect([ledger.path]), options.report, own_version())]
        except Mistake as error:
            self._remarks.append(f"--dsbench-report: {error}")

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table of the run, after everybody else's."""
        if self._ledger is None:
            return
        from .report.gate import finish_lines, self_check_lines
        from .report.terminal import summary_lines

        verbose = self._config.getoption("verbose") > 0
        terminalreporter.section("dsbench")
        lines = summary_lines(self._ledger.found, self._ledger.header, verbose)
        lines += [
            *finish_lines(self._finish, self._shown, verbose),
            *self_check_lines(self._ledger.confirmed, self._options().self_check),
        ]
        for line in [*lines, *self._remarks, f"results: {self._shown(self._ledger.path)}"]:
            terminalreporter.write_line(line)

    def _shown(self, path: Path) -> str:
        here = self._config.invocation_params.dir
        return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _covered(ledger: Ledger) -> Header:
    """The header without benches by hand that were not reached: only they themselves could have told of a second call."""
    from .measurement import OWN

    names = {one.case.operator for one in ledger.found if one.case.provider == OWN and one.work is None}
    coverage = ledger.header.coverage
    return ledger.header.replace(coverage=coverage.replace(partial=tuple(sorted({*coverage.partial, *names}))))


def _reason(report: pytest.TestReport) -> str:
    """The sentence of a report: why it was skipped, or what was raised."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message if crash is not None else report.longreprtext).strip().splitlines()
    return lines[0].removeprefix("E  ").strip() if lines else f"{report.when} failed"
