"""The process of a replay: one case of a session, run as a worker of pytest-xdist would, and nothing written but its result."""

from pathlib import Path
from typing import Any

import pytest

#: As in fixture.py, which is loaded with the first bench.
_RECORD = "dsbench"
#: Options that judge or write what a replay has no part in.
_NOT_HERE = ("compare", "save", "old", "self_check", "summary", "report")


class Replay:
    """Makes of a session a worker that runs one case."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._result = Path(order["result"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Before plugins are configured: those that write files leave that to the process that started their worker."""
        option = config.option
        option.dist, option.tx, option.numprocesses, option.usepdb = "no", [], None, False
        option.basetemp = self._order["basetemp"]
        for name in _NOT_HERE:
            setattr(option, f"dsbench_{name}", None)
        config.workerinput = self._order["workerinput"]  # type: ignore[attr-defined]
        config.workeroutput = {}  # type: ignore[attr-defined]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves the one case; pytest-xdist may have added a group to its name."""
        items[:] = [item for item in items if item.nodeid == self._order["node"].partition("@")[0]]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> None:
        """From here on it is the case that may end the process."""
        self._result.with_suffix(".begun").touch()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the record of the case as soon as there is one."""
        for name, text in report.user_properties:
            if name == _RECORD:
                self._result.write_text(f"{text}\n", encoding="utf-8")


def main(order: dict[str, Any]) -> None:
    """Runs the case, and says so when the process outlived it."""
    code = pytest.main(list(order["args"]), plugins=[Replay(order)])
    Path(order["result"]).with_suffix(".end").write_text(str(int(code)))
