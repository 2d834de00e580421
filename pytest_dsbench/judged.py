"""What samples make of a measurement: the estimate, the efficiency, and the status where they cannot be believed."""

from .clock import Samples
from .light import binding, floor_bound, too_fast
from .measurement import LIGHT, Measurement
from .rig import Rig
from .roofline import bound
from .stats import estimate

#: How often a measured roof that was beaten is measured again: what else the machine does comes and goes.
_LOOKS = 3


def judged(rig: Rig, found: Measurement, samples: Samples, cold: bool) -> Measurement:
    """The measurement with its estimate, efficiency, status and notes."""
    spent = estimate(samples.seconds or samples.rejected, samples.stopped_by)
    assert found.bound is not None and found.work is not None
    work, limit = found.work, found.bound
    binding_work = binding(work, cold)
    for _ in range(_LOOKS):
        if rig.raise_roof is not None and spent.median < LIGHT * bound(binding_work, rig.hardware).seconds:
            rig.hardware = rig.raise_roof(rig.hardware)
            limit = bound(work, rig.hardware)
    notes = [*found.notes, *samples.notes]
    if samples.host_bound:
        notes.append("host-bound: the host enqueues slower than the kernel runs; an operator's time, not a kernel's")
    launches = floor_bound(spent.median, rig.hardware)
    if launches:
        notes.append(launches)
    if not cold:
        notes.append("hot: the buffers may stay in the cache, so the memory roofline does not bind")
    found = found.replace(
        status="passed",
        bound=limit,
        time=spent,
        efficiency=limit.seconds / spent.median,
        mode=samples.mode,
        cold=cold,
        discarded=samples.discarded,
        notes=tuple(notes),
    )
    impossible = too_fast(spent.median, bound(binding_work, rig.hardware))
    disturbed = samples.stopped_by in ("noisy host", "throttled")
    if impossible and not (disturbed and rig.raise_roof is not None):
        # A disturbed device takes longer, so what was too fast on it was too fast.
        return found.replace(status="invalid", reason=impossible)
    if disturbed:
        # A roof that is measured beside the work of others is too low, and being faster than that says nothing.
        status = "throttled" if samples.stopped_by == "throttled" else "noisy_host"
        return found.replace(status=status, reason=_dropped(samples))
    return found


def _dropped(samples: Samples) -> str:
    causes = ", ".join(f"{reason} {count}x" for reason, count in samples.discarded.items())
    # One batch may fall for two reasons.
    dropped = min(sum(samples.discarded.values()), samples.batches)
    return f"{dropped} of {samples.batches} batches discarded: {causes}; shown, never gated"
