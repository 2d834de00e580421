"""Work x Hardware -> Bound: the speed of light of a case on a device."""

from typing import Literal

from .hardware.sheet import Hardware
from .record import Record
from .work import Work

#: Version of the T_SOL model: it is stored with every bound, so that a changed model never looks like a regression.
MODEL = 1


class Bound(Record):
    """T_SOL in seconds and what binds it."""

    #: T_SOL = max(sum over units of FLOP / peak, bytes / bandwidth), seconds
    seconds: float
    by: Literal["memory", "compute"]
    #: `by`, or "launch" where even an empty kernel takes longer than T_SOL on this device
    regime: Literal["memory", "compute", "launch"]
    model: int = MODEL


def bound(work: Work, hardware: Hardware) -> Bound:
    """T_SOL of `work` on `hardware`.

    Raises Mistake where the work needs a unit that the device lacks. Source of the model: Williams, Waterman, Patterson,
    "Roofline", CACM 2009; units add up because no schedule runs two of them faster than their shares of the bytes.
    """
    compute = sum(count / hardware.rate(unit) for unit, count in work.flop.items() if count)
    memory = work.bytes / hardware.bandwidth
    by: Literal["memory", "compute"] = "compute" if compute > memory else "memory"
    seconds = max(compute, memory)
    launch = hardware.launch_floor is not None and seconds < hardware.launch_floor
    return Bound(seconds=seconds, by=by, regime="launch" if launch else by)
