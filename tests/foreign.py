"""What the tests of `dsbench import` share: a folder, the command, and the runs that it wrote."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_dsbench import runs
from pytest_dsbench.__main__ import main
from pytest_dsbench.measurement import Measurement
from pytest_dsbench.runs import Run


@dataclass
class Done:
    """What a command did."""

    code: int
    out: list[str]
    err: str


@dataclass
class Desk:
    """An empty folder, in which `dsbench import` is run."""

    path: Path
    run: Callable[..., Done]

    def write(self, name: str, text: str | bytes) -> str:
        """A file in the folder; its name, as a command takes it."""
        (self.path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return name

    def table(self, text: str | bytes, *words: str) -> Done:
        """Imports a table."""
        return self.run("import", "table", self.write("table.csv", text), *words)

    def refused(self, text: str | bytes, *words: str) -> str:
        """The sentence with which a table as a whole is refused."""
        done = self.table(text, *words)
        assert (done.code, done.out, self.runs()) == (2, [], [])
        assert done.err.count("\n") == 1 and "Traceback" not in done.err
        return done.err.removeprefix("dsbench: ").strip()

    def unusable(self, text: str | bytes, *words: str) -> list[str]:
        """What is said of the rows that cannot be used."""
        lines = self.table(text, *words).out
        start = next(number for number, line in enumerate(lines) if line.startswith("unusable"))
        return [line.strip() for line in lines[start + 1 :] if line.startswith("  ")]

    def runs(self) -> list[Run]:
        """The run files that were written, each of them whole."""
        found = [runs.read(path) for path in sorted((self.path / "runs").glob("*.jsonl"))]
        for one in found:
            assert one.complaints == () and one.header is not None and one.end is not None
            assert one.end.planned == one.end.produced == one.header.planned == len(one.measurements)
        return found

    def records(self) -> tuple[Measurement, ...]:
        """The records of the one run that was written."""
        (one,) = self.runs()
        return one.measurements


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """An empty folder, in which `dsbench import` is run."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Done:
        code = main(words)
        said = capsys.readouterr()
        return Done(code, said.out.splitlines(), said.err)

    return Desk(tmp_path, run)
