"""Writes results as they arrive and prints the summary; in the one process that hears of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .measurement import Measurement
    from .runs import Header, Writer


class Recorder:
    """Listens to reports; costs nothing until one of them carries a result of ours."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._found: list[Measurement] = []
        self._header: Header | None = None
        self._writer: Writer | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Appends a result to the run file as soon as its case has ended."""
        if report.when != "call" or not report.user_properties:
            return
        properties: dict[str, Any] = dict(report.user_properties)
        if "dsbench_run" in properties and self._writer is None:
            self._open(properties["dsbench_run"])
        if "dsbench" in properties and self._writer is not None:
            self._append(properties["dsbench"])

    def _open(self, text: str) -> None:
        import msgspec

        from .plugin import session
        from .runs import Header, Writer

        self._header = msgspec.json.decode(text, type=Header)
        self._writer = Writer(session(self._config).options.runs, self._header)

    def _append(self, text: str) -> None:
        import msgspec

        from .measurement import Measurement

        result = msgspec.json.decode(text, type=Measurement)
        self._found.append(result)
        assert self._writer is not None
        self._writer.append(result)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The last line of the run file."""
        if self._writer is None:
            return
        from .runs import End

        planned = session.testscollected
        self._writer.append(End(planned=planned, produced=len(self._found)))
        self._writer.close()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table of the run, after everybody else's."""
        if self._header is None or self._writer is None:
            return
        from .report.terminal import summary_lines

        verbose = self._config.getoption("verbose") > 0
        terminalreporter.section("dsbench")
        for line in summary_lines(self._found, self._header, verbose):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"results: {self._writer.path}")
