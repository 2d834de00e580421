"""Writes results as they arrive and prints the summary; in the one process that hears of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .measurement import Measurement
    from .runs import Header, Writer

#: As in fixture.py, which is not loaded in a run without benches.
_RECORD, _HEADER, _PLAN = "dsbench", "dsbench_run", "dsbench_plan"


class Recorder:
    """Listens to reports; costs nothing until one of them carries a result of ours."""

    def __init__(self, config: pytest.Config, folder: Callable[[], Path]) -> None:
        self._config = config
        #: where run files go; asked only when there is one to write
        self._folder = folder
        self._found: list[Measurement] = []
        self._header: Header | None = None
        self._writer: Writer | None = None
        self._planned: list[str] = []
        #: how many results of an item were taken: each of its reports carries all it has so far
        self._taken: dict[str, int] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Appends results to the run file as soon as their case has ended."""
        if not report.user_properties:
            return
        for name, value in report.user_properties:
            if name == _HEADER and self._writer is None:
                self._open(str(value))
            elif name == _PLAN and not self._planned:
                self._plan(str(value))
        # They have arrived, and are too long for a junit file.
        report.user_properties = [pair for pair in report.user_properties if pair[0] not in (_HEADER, _PLAN)]
        records = [str(value) for name, value in report.user_properties if name == _RECORD]
        for text in records[self._taken.get(report.nodeid, 0) :]:
            self._append(text)
        if records:
            self._taken[report.nodeid] = len(records)

    def _open(self, text: str) -> None:
        import msgspec

        from .runs import Header, Writer

        self._header = msgspec.json.decode(text, type=Header)
        folder = self._folder()
        try:
            self._writer = Writer(folder, self._header)
        except OSError as error:
            raise pytest.UsageError(f"dsbench_runs: cannot write results to {folder}: {error.strerror}") from None

    def _plan(self, text: str) -> None:
        import msgspec

        self._planned = msgspec.json.decode(text, type=list[str])

    def _append(self, text: str) -> None:
        import msgspec

        from .measurement import Measurement

        assert self._writer is not None
        result = msgspec.json.decode(text, type=Measurement)
        self._found.append(result)
        self._writer.append(result)

    def _not_run(self) -> tuple[str, ...]:
        return tuple(nodeid for nodeid in self._planned if nodeid not in self._taken)

    def pytest_sessionfinish(self) -> None:
        """The last line of the run file."""
        if self._writer is None:
            return
        from .runs import End

        self._writer.append(End(planned=len(self._planned), produced=len(self._found), not_run=self._not_run()))
        self._writer.close()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table of the run, after everybody else's."""
        if self._header is None or self._writer is None:
            return
        from .report.terminal import summary_lines

        verbose = self._config.getoption("verbose") > 0
        terminalreporter.section("dsbench")
        lines = summary_lines(self._found, self._header, verbose)
        if missing := self._not_run():
            lines.append(f"{len(missing)} of {len(self._planned)} planned cases have no record; the first: {missing[0]}")
        here = self._config.invocation_params.dir
        path = self._writer.path
        for line in [*lines, f"results: {path.relative_to(here) if path.is_relative_to(here) else path}"]:
            terminalreporter.write_line(line)
