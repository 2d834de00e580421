"""What a reader finds in a foreign file: one measured row, or why a row cannot be used."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..measurement import Status
from ..mistake import Mistake
from ..record import Record
from ..roofline import Bound
from ..stats import Estimate
from ..work import Work

#: Why sampling stopped, of an estimate that was read from a file.
IMPORTED = "imported"


class Found(Record):
    """One measured row, not yet held against anything."""

    #: `path:line`
    where: str
    operator: str
    dims: dict[str, Any]
    provider: str
    #: the GPU as the file names it; None where it names none
    gpu: str | None = None
    #: None where it failed
    time: Estimate | None = None
    status: Status = "passed"
    reason: str | None = None
    notes: tuple[str, ...] = ()
    packages: dict[str, str] = {}
    #: when it was measured, in seconds since 1970
    at: float | None = None
    torch: str | None = None
    cuda: str | None = None
    #: what only our own benches know of themselves
    label: str | None = None
    bench: str = ""
    cold: bool | None = None
    work: Work | None = None
    bound: Bound | None = None


class Unusable(Record):
    """A row that becomes no record."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def single(seconds: float) -> Estimate:
    """The estimate of a time whose scatter is not known: one value is no interval, however many samples are behind it."""
    return Estimate(median=seconds, low=seconds, high=seconds, n=1, stopped_by=IMPORTED)


def json_of(text: str, path: Path | str, line: int = 1) -> Any:
    """What a JSON text says, one that begins on `line` of a file. Raises Mistake. Python writes NaN, and it is read as such."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Mistake(f"{path}:{line + error.lineno - 1}: not JSON: {error.msg} in column {error.colno}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or brackets as deep
        raise Mistake(f"{path}:{line}: not JSON that can be read") from None


def traced(paths: Sequence[Path]) -> str:
    """The files a run was read from, each with the beginning of its SHA-256, the first five of them by name."""
    shown = [f"{path.name} (sha256 {digest(path)})" for path in paths[:5]]
    more = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def digest(path: Path) -> str:
    """The first twelve hexadecimal digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
