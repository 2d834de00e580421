"""Measurement: everything known about one case and provider after it ran. One of these is one line of a run file."""

from typing import Any, Literal

import msgspec

from .anchors import Anchors
from .operator import Operator
from .record import Record
from .roofline import Bound
from .shapes import Case, Provenance
from .stats import Estimate
from .work import Work

#: Faster than T_SOL by more than this is never a good score: the cache was hot, the result was replayed, or the work is wrong.
LIGHT = 0.97
#: The provider of a bench by hand.
OWN = "own"
#: What the note of a case begins with whose time is that of launches.
FLOOR_BOUND = "floor-bound"

#: Version of the lines of a run file. 1 had no `bench`, no verdicts, and no crashed or timed-out cases; 2 had no cases that
#: were not run; 3 had no categories and no imported runs.
VERSION = 4
#: Version of how a case is timed. Times of two versions are not compared.
PROTOCOL = 1

Status = Literal[
    "passed", "failed", "skipped", "invalid", "checked", "noisy_host", "throttled", "crashed", "timed_out", "not_run"
]


class Correctness(Record):
    """How far the outputs were from the reference, over all rounds; the worst of them."""

    #: relative Frobenius error by output
    rel_l2: dict[str, float] = {}
    #: largest |o - r| / allowed over all elements, by output; 1 is the tolerance
    worst: dict[str, float] = {}
    #: inputs it was checked on: random contents and edge recipes
    rounds: tuple[str, ...] = ()
    #: whether a second call gave the same bits
    deterministic: bool = True


class Planned(Record):
    """A case and the provider that is to run it: what a run promises to produce."""

    operator: str
    dims: dict[str, Any]
    label: str
    tags: tuple[str, ...] = ()
    importance: float | None = None
    provenance: Provenance = Provenance()
    #: `path:line` of the shape row or of the bench
    where: str
    provider: str
    #: `path::function` of the bench, relative to the root folder; empty in files of version 1
    bench: str = ""
    #: what kind of work it is; empty in files of versions 1 to 3
    category: str = ""

    @property
    def name(self) -> str:
        """operator[label] provider."""
        return f"{self.operator}{f'[{self.label}]' if self.label else ''} {self.provider}"

    @property
    def identity(self) -> str:
        """What a case is known by from night to night: operator, dimensions and provider.

        A label may change; only a bench by hand, whose parameters may be anything, is known by it.
        """
        return f"{self.shape} {self.provider}{f' {self.label}' if self.provider == OWN else ''}"

    @property
    def shape(self) -> str:
        """The same without the provider."""
        return shape_of(self.operator, self.dims)


def shape_of(operator: str, dims: dict[str, Any]) -> str:
    """What an operator at some dimensions is known by, the dimensions as they are read back from a file."""
    return f"{operator} {msgspec.json.encode(dims, order='sorted').decode()}"


def read_back(op: Operator) -> dict[str, Any]:
    """The dimensions of an operator as a file gives them back: lists, where the operator has tuples."""
    dims: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(op))
    return dims


def planned(case: Case, provider: str, bench: str = "") -> Planned:
    """The Planned of a case of a shape file, run by the bench `path::function`."""
    return Planned(
        operator=case.op.name,
        dims=read_back(case.op),
        label=case.label,
        tags=case.tags,
        importance=case.importance,
        provenance=case.provenance,
        where=case.where,
        provider=provider,
        bench=bench,
        category=case.op.category,
    )


def fuzzed(operator: str, provider: str, label: str, where: str) -> Planned:
    """The Planned of drawn shapes of an operator."""
    return Planned(operator=operator, dims={}, label=label, tags=("fuzz",), where=where, provider=provider)


class Measurement(Record, tag_field="kind", tag="case"):
    """The outcome of one planned case."""

    #: version of the format
    v: int = VERSION
    case: Planned
    status: Status
    #: why it was not passed, in one sentence
    reason: str | None = None
    notes: tuple[str, ...] = ()
    #: the functions that really ran, and the versions of the packages they come from
    ran: tuple[str, ...] = ()
    packages: dict[str, str] = {}
    work: Work | None = None
    bound: Bound | None = None
    time: Estimate | None = None
    #: T_SOL / T
    efficiency: float | None = None
    #: how it was timed ("cpu", "events", "graph"), and whether each call met a cold cache
    mode: str | None = None
    cold: bool | None = None
    protocol: int = PROTOCOL
    #: samples that were thrown away as whole batches, by reason
    discarded: dict[str, int] = {}
    correctness: Correctness | None = None
    #: the last anchors before it, and when it was measured, in seconds since 1970
    anchors: Anchors | None = None
    at: float | None = None
    #: name of the data sheet the bound is from
    hardware: str | None = None
    #: key of the environment it ran in, and the GPU: anchors of one say nothing of another
    environment: str | None = None
    device: str | None = None

    @property
    def floor_bound(self) -> bool:
        """Whether its time is that of launches."""
        return any(note.startswith(FLOOR_BOUND) for note in self.notes)

    @property
    def ok(self) -> bool:
        """False where the bench must fail."""
        return self.status not in ("failed", "invalid", "crashed", "timed_out", "not_run")
