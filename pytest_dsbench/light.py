"""What a time says about itself when it is held against its bound: faster than light, or a matter of launches."""

from .hardware.sheet import Hardware
from .measurement import FLOOR_BOUND, LIGHT
from .roofline import Bound
from .units import show_seconds
from .work import Work

#: A case faster than this many empty launches measures launches.
_FLOOR = 3.0


def binding(work: Work, cold: bool) -> Work:
    """The part of the work that binds: from a warm cache only compute does, and a roof of memory that was beaten is no news."""
    return work if cold else work.replace(read=0, written=0)


def too_fast(seconds: float, limit: Bound) -> str | None:
    """One sentence where a time is below its bound by more than LIGHT allows; None otherwise."""
    if seconds >= LIGHT * limit.seconds:
        return None
    return (
        f"faster than light: T {show_seconds(seconds)} is below {LIGHT:g} x T_SOL {show_seconds(limit.seconds)};"
        " the result was replayed, the cache was hot, work went to another stream, or the work model counts too much"
    )


def floor_bound(seconds: float, hardware: Hardware) -> str | None:
    """The note of a case whose time is that of launches; None where the sheet has no launch floor, or it is well above it."""
    if hardware.launch_floor is None or seconds >= _FLOOR * hardware.launch_floor:
        return None
    return f"{FLOOR_BOUND}: less than three empty launches, so its efficiency measures launches"
