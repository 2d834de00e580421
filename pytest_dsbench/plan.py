"""What every case must do at least and how fast it could be, on any sheet, without a device and without torch."""

from collections.abc import Iterable
from typing import Any

import msgspec

from .hardware.sheet import Hardware
from .mistake import Mistake
from .record import Record
from .roofline import Bound, bound
from .shapes import Case
from .work import Work


class Prospect(Record):
    """One case with its bound on one sheet; `bound` is None where the device lacks a unit, and `reason` says which."""

    case: Case
    work: Work
    bound: Bound | None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The documented fields of one line of a plan file; a recovered case points at the published one it mends."""
        known = self.case.provenance
        return {
            "operator": self.case.op.name,
            "dims": msgspec.to_builtins(self.case.op),
            "published_id": known.id if known.id is not None else known.recovers,
            "tags": list(self.case.tags),
            "bytes_read": self.work.read,
            "bytes_written": self.work.written,
            "flop": self.work.flop,
            "t_sol_s": self.bound.seconds if self.bound else None,
            "bound_by": self.bound.by if self.bound else None,
            "regime": self.bound.regime if self.bound else None,
        }


def plan(cases: Iterable[Case], hardware: Hardware) -> list[Prospect]:
    """The prospects of cases on one sheet, in order."""
    return [_prospect(case, hardware) for case in cases]


def _prospect(case: Case, hardware: Hardware) -> Prospect:
    work = case.op.work()
    try:
        return Prospect(case=case, work=work, bound=bound(work, hardware))
    except Mistake as error:
        return Prospect(case=case, work=work, bound=None, reason=str(error))


def sheet(hw: str | None) -> Hardware:
    """The sheet a plan is made for: the one named, or that of the device here. torch is needed only for the latter."""
    from .hardware import detect, named
    from .hardware.device import device, has_gpu

    if hw is not None and hw != "cpu":
        return named(hw)
    if hw is None and has_gpu():
        return detect.resolve(None, device())
    try:
        from . import peaks
    except ModuleNotFoundError:
        raise Mistake(
            "measuring this CPU's roofline needs torch; install pytest-dsbench[torch] or name a sheet with --dsbench-hw"
        ) from None
    return peaks.sheet()
