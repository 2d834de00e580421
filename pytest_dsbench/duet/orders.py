"""What conductor and worker say to each other: JSON lines, one answer to each order."""

from typing import Literal

import msgspec

from ..clock import Mode
from ..measurement import Measurement, Planned, Status
from ..record import Record

#: Version of these messages. Two sides that do not share it cannot duel.
PROTOCOL = 1


class Setup(Record):
    """How a worker is to measure; the one argument of its program."""

    protocol: int = PROTOCOL
    #: sheet name or path of a .toml, "cpu", or None to detect
    hw: str | None = None
    clock: Mode = "auto"
    cold: bool = True


# -- orders -------------------------------------------------------------------------------------------------------------------


class Prepare(Record, tag_field="kind", tag="prepare"):
    """Check a case, warm it up, and wait to be asked for slices. Answer: Ready, Finished or Refused."""

    case: Planned
    #: how a GPU must time it; None leaves that to the clock
    mode: Mode | None = None


class Next(Record, tag_field="kind", tag="slice"):
    """Time one slice. Answer: Slice, or Finished where an output was wrong."""


class Done(Record, tag_field="kind", tag="done"):
    """No more slices of this case. Answer: Finished."""


class Measure(Record, tag_field="kind", tag="measure"):
    """Measure a case as an ordinary run does. Answer: a Measurement or Refused."""

    case: Planned


class Quit(Record, tag_field="kind", tag="quit"):
    """End. There is no answer."""


Order = Prepare | Next | Done | Measure | Quit

# -- answers ------------------------------------------------------------------------------------------------------------------


class Hello(Record, tag_field="kind", tag="hello"):
    """Unasked, when the worker has found its device."""

    protocol: int = PROTOCOL
    python: str
    torch: str
    #: "cpu" or "cuda"
    device: Literal["cpu", "cuda"]
    #: key of the environment, and name of the data sheet
    environment: str
    hardware: str


class Ready(Record, tag_field="kind", tag="ready"):
    """The case is right, warm, and waits."""

    #: how it is timed: "cpu", "events" or "graph"
    mode: str
    #: of the input values, and of this provider's outputs by name
    inputs: str
    outputs: dict[str, str]
    packages: dict[str, str] = {}


class Slice(Record, tag_field="kind", tag="slice"):
    """One slice: seconds per call, and why it must not count, if so."""

    seconds: float
    discard: str | None = None


class Finished(Record, tag_field="kind", tag="finished"):
    """The case is over in this worker: as after a run."""

    status: Status
    reason: str | None = None
    notes: tuple[str, ...] = ()


class Refused(Record, tag_field="kind", tag="refused"):
    """The case cannot be had here; the worker is ready for the next one."""

    reason: str


class Sorry(Record, tag_field="kind", tag="sorry"):
    """There is no worker: one sentence why."""

    protocol: int = PROTOCOL
    reason: str


Answer = Hello | Ready | Slice | Finished | Refused | Sorry | Measurement


def protocol(line: bytes) -> int | None:
    """The protocol a hello was written in, whatever else it says; None where it is no message."""
    try:
        return int(msgspec.json.decode(line)["protocol"])
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return None
