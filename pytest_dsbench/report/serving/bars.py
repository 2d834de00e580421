"""One layer in the steady state as a picture of letters: a lane of kernels and a lane of the network."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...units import show_seconds, show_share
from . import words
from .period import period

if TYPE_CHECKING:
    from ...serving.estimate import Estimate
    from ...serving.schedule import Span

#: Columns of the bars, and what fills those of each micro-batch; a lane that waits is dotted.
_WIDTH, _FILL, _IDLE = 88, "=-", "."
#: Of names that are too long for their bar.
_SHORT = {"attention_in": "in", "attention_out": "out", "dispatch": "disp", "combine": "comb", "experts": "exp", "shared": "sh"}


def bar_lines(found: "Estimate") -> Iterator[str]:
    """A line for each lane, then the parts too short for their name."""
    shown, policy = period(found), found.configuration.policy
    fills = f"; {_FILL[0]} micro-batch A, {_FILL[1]} micro-batch B" if policy == "dual" else ""
    yield f"one {words.kind(shown.section)} from left to right, {show_seconds(shown.seconds)}{fills}; {_IDLE} waits"
    small: dict[str, float] = {}
    for lane, spans in shown.lanes.items():
        line = _line(spans, shown.seconds, policy, small)
        yield f"{lane} |{line}|{f' {show_share(shown.idle(lane))} idle' if shown.gaps(lane) else ''}"
    if small:
        yield f"too short for a name: {', '.join(f'{name} {show_seconds(seconds)}' for name, seconds in small.items())}"


def _line(spans: Sequence["Span"], total: float, policy: str, small: dict[str, float]) -> str:
    """The bars of a lane, each of at least one column where there is room; `small` takes those whose name found no room."""
    line = [_IDLE] * _WIDTH
    for span in spans:
        first = min(round(_WIDTH * span.start / total), _WIDTH - 1)
        columns = max(round(_WIDTH * (span.start + span.seconds) / total) - first, 1)
        short = words.whose(_SHORT.get(span.part, span.part), span.micro, policy)
        names = (words.whose(span.part, span.micro, policy), short, short.split()[0])
        name = next((name for name in names if len(name) < columns), "")
        if not name:
            small[words.part(span.part)] = span.seconds
        # A stroke in front of each bar parts it from the one before it.
        line[first : first + columns] = f"|{name}".ljust(columns, _FILL[span.micro])[:columns]
    return "".join(line[:_WIDTH])
