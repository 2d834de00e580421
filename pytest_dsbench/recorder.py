"""Writes results as they arrive, judges the run when it is over and prints the summary; in the one process that hears of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .gate.finish import Finish
    from .measurement import Measurement, Planned
    from .options import Options
    from .runs import Header, Writer
    from .verdict import Confirmation

#: As in fixture.py, which is not loaded in a run without benches.
_RECORD, _HEADER, _PLAN, _CONFIRMATION = "dsbench", "dsbench_run", "dsbench_plan", "dsbench_confirmation"

#: Why a run ends with an exit code of the gate although no test failed.
_REASONS = {
    1: "cases are missing, or many got slower together; see above",
    3: "the environment is not fit to judge; see above",
}


class Recorder:
    """Listens to reports; costs nothing until one of them carries a result of ours."""

    def __init__(self, config: pytest.Config, options: Callable[[], Options]) -> None:
        self._config = config
        #: asked only when there is a run to write
        self._options = options
        self._found: list[Measurement] = []
        self._confirmed: list[Confirmation] = []
        self._header: Header | None = None
        self._writer: Writer | None = None
        #: by node id; the case, where it can be told beforehand
        self._planned: dict[str, Planned | None] = {}
        #: how many lines of an item were taken: each of its reports carries all it has so far
        self._taken: dict[str, int] = {}
        self._recorded: set[str] = set()
        self._finish: Finish | None = None
        self._remarks: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Appends results to the run file as soon as their case has ended."""
        for name, value in report.user_properties:
            if name == _HEADER and self._writer is None:
                self._open(str(value))
            elif name == _PLAN and not self._planned:
                self._plan(str(value))
        # They have arrived, and are too long for a junit file.
        report.user_properties = [pair for pair in report.user_properties if pair[0] not in (_HEADER, _PLAN)]
        lines = [(name, str(value)) for name, value in report.user_properties if name in (_RECORD, _CONFIRMATION)]
        for name, text in lines[self._taken.get(report.nodeid, 0) :]:
            self._append(name, text)
            self._recorded.add(report.nodeid)
        self._taken[report.nodeid] = max(len(lines), self._taken.get(report.nodeid, 0))
        if report.failed and report.nodeid not in self._recorded:
            self._ended(report)

    def _open(self, text: str) -> None:
        import msgspec

        from .runs import Header, Writer

        self._header = msgspec.json.decode(text, type=Header)
        folder = self._options().runs
        try:
            self._writer = Writer(folder, self._header)
        except OSError as error:
            raise pytest.UsageError(f"dsbench_runs: cannot write results to {folder}: {error.strerror}") from None

    def _plan(self, text: str) -> None:
        import msgspec

        from .measurement import Planned

        self._planned = dict(msgspec.json.decode(text, type=list[tuple[str, Planned | None]]))

    def _append(self, name: str, text: str) -> None:
        import msgspec

        from .measurement import Measurement
        from .verdict import Confirmation

        assert self._writer is not None
        if name == _RECORD:
            result = msgspec.json.decode(text, type=Measurement)
            self._found.append(result)
            self._writer.append(result)
        else:
            confirmation = msgspec.json.decode(text, type=Confirmation)
            self._confirmed.append(confirmation)
            self._writer.append(confirmation)

    def _ended(self, report: pytest.TestReport) -> None:
        """A planned case whose process ended, or that was stopped for its time, has a record all the same."""
        case, text = self._planned.get(report.nodeid), report.longreprtext
        if case is None or self._writer is None:
            return
        from .measurement import Measurement, Status

        statuses: dict[str, Status] = {"crashed while running": "crashed", "Timeout": "timed_out"}
        for words, status in statuses.items():
            # In the words of pytest-xdist, and of pytest-timeout.
            if words in text:
                line = next(line for line in text.splitlines() if words in line)
                result = Measurement(case=case, status=status, reason=line.removeprefix("E").strip())
                self._found.append(result)
                self._writer.append(result)
                self._recorded.add(report.nodeid)
                return

    def _not_run(self) -> list[str]:
        return [nodeid for nodeid in self._planned if nodeid not in self._recorded]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The gate's last word, what is saved, and the last line of the run file."""
        if self._writer is None or self._header is None:
            return
        from .runs import End

        try:
            self._judge(session)
        finally:
            not_run = tuple(self._not_run())
            self._writer.append(End(planned=len(self._planned), produced=len(self._found), not_run=not_run))
            self._writer.close()
        self._write_summary()

    def _judge(self, session: pytest.Session) -> None:
        options = self._options()
        if not options.gated or self._header is None or self._writer is None:
            return
        from .gate.finish import finish
        from .mistake import Mistake

        left = [case for case in map(self._planned.get, self._not_run()) if case is not None]
        try:
            self._finish = finish(self._found, self._covered(self._header), self._confirmed, left, options)
        except Mistake as error:
            raise pytest.UsageError(str(error)) from None
        for verdict in self._finish.judged.verdicts:
            self._writer.append(verdict)
        code = self._finish.judged.code(accepted=options.lowering)
        if code and session.exitstatus == pytest.ExitCode.OK:
            # No test of its own says why.
            session.exitstatus = code
            self._remarks.append(f"exit code {code}: {_REASONS[code]}")

    def _covered(self, header: Header) -> Header:
        """The header without benches by hand that were not reached: only they themselves could have named their cases."""
        unnamed = [nodeid.partition("[")[0] for nodeid in self._not_run() if self._planned[nodeid] is None]
        names = {bench.rpartition("::")[2].removeprefix("bench_") for bench in unnamed}
        coverage = header.coverage
        return header.replace(coverage=coverage.replace(partial=tuple(sorted({*coverage.partial, *names}))))

    def _write_summary(self) -> None:
        options = self._options()
        if options.summary is None or self._header is None:
            return
        from .report.summary import summary_lines

        lines = summary_lines(self._found, self._header, self._finish, self._confirmed, options.self_check)
        try:
            options.summary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            self._remarks.append(f"--dsbench-summary: cannot write {options.summary}: {error.strerror}")

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table of the run, after everybody else's."""
        if self._header is None or self._writer is None:
            return
        from .report.gate import finish_lines, self_check_lines
        from .report.terminal import summary_lines

        verbose = self._config.getoption("verbose") > 0
        terminalreporter.section("dsbench")
        lines = summary_lines(self._found, self._header, verbose)
        lines += [
            *finish_lines(self._finish, self._shown, verbose),
            *self_check_lines(self._confirmed, self._options().self_check),
        ]
        if missing := self._not_run():
            lines.append(f"{len(missing)} of {len(self._planned)} planned cases have no record; the first: {missing[0]}")
        for line in [*lines, *self._remarks, f"results: {self._shown(self._writer.path)}"]:
            terminalreporter.write_line(line)

    def _shown(self, path: Path) -> str:
        here = self._config.invocation_params.dir
        return str(path.relative_to(here) if path.is_relative_to(here) else path)
