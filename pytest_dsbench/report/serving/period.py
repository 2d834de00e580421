"""Period: one layer in the steady state, every micro-batch once, as text and pictures show it."""

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from ...record import Record

if TYPE_CHECKING:
    from ...serving.estimate import Estimate
    from ...serving.schedule import Span
    from ...serving.sections import Section

#: A gap or a window shorter than this share of the layer is rounding.
_ROUNDING = 1e-9


class Period(Record):
    """The bars of a layer, seconds from its start."""

    section: Any
    seconds: float
    #: bars of each lane that has any, in order of time
    lanes: dict[str, Any]
    #: where each window ends; the last one is the end of the layer
    ends: tuple[float, ...]

    def idle(self, lane: str) -> float:
        """The share of the layer in which a lane waits."""
        return sum(length for _, length in self.gaps(lane)) / self.seconds

    def gaps(self, lane: str) -> list[tuple[float, float]]:
        """Where a lane waits: start and seconds."""
        spans = self.lanes[lane]
        free = [0.0, *(span.start + span.seconds for span in spans)]
        taken = [*(span.start for span in spans), self.seconds]
        gaps = [(start, end - start) for start, end in zip(free, taken, strict=True)]
        return [(start, length) for start, length in gaps if length > _ROUNDING * self.seconds]


def period(found: "Estimate") -> Period:
    """The layer with experts, or a dense one where there is none."""
    from ...serving.schedule import MICRO, layer, timeline, windows

    policy, section = found.configuration.policy, _shown(found)
    parts, moe = section.parts, section.kind == "moe"
    assert parts is not None
    spans = [span for span in timeline(parts, policy, moe) if span.seconds > 0]
    lanes: dict[str, list[Span]] = {name: [span for span in spans if span.lane == name] for name in ("kernels", "network")}
    each = [max(sum(getattr(parts, name) for name in lane) for lane in window) for window in windows(policy, moe)] * MICRO[policy]
    seconds = float(layer(parts, policy, moe))
    ends = [end for start, end in pairwise([0.0, *accumulate(each)]) if end - start > _ROUNDING * seconds]
    return Period(section=section, seconds=seconds, lanes={name: some for name, some in lanes.items() if some}, ends=tuple(ends))


def _shown(found: "Estimate") -> "Section":
    layers = [one for one in found.sections if one.parts is not None and not one.guess]
    return next((one for one in layers if one.kind == "moe"), layers[0])
