"""A layer profile as bars one after the other: what a waterfall shows, and where each bar stands."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..record import Record
from .record import Profile, Row, total
from .sums import explained
from .times import microseconds

#: Rows that a picture shows one by one; where there are more, the shortest neighbours of a group become one bar.
_MOST = 40
_LONGEST_LABEL = 52


class Bar(Record):
    """One line of the picture, and the rows in it."""

    label: str
    group: str
    rows: tuple[Row, ...]
    hidden: bool

    def seconds(self, device: str) -> float | None:
        """What it takes on a device; None where no row of it has a time."""
        return total(self.rows, device) if any(device in row.seconds for row in self.rows) else None


def panels(profile: Profile, some: Sequence[Bar]) -> list[str]:
    """The first device with a time, and those others that have one for half of the bars at least."""
    names = [device.name for device in profile.devices]
    counts = {name: sum(bar.seconds(name) is not None for bar in some) for name in names}
    full = [name for name in names if counts[name] and 2 * counts[name] >= len(some)]
    return full or [max(names, key=lambda name: counts[name])]


def bars(profile: Profile) -> Iterator[Bar]:
    """Rows with a time in the order of the layer, those that are hidden right below the last row of what hides them."""
    timed = [row for row in profile.rows if row.seconds]
    longest = sorted(timed, key=lambda row: max(row.seconds.values()), reverse=True)[:_MOST]
    behind: dict[str, list[Row]] = {}
    for row in timed:
        if row.hidden_by is not None:
            behind.setdefault(row.hidden_by, []).append(row)
    counted = [row for row in timed if row.hidden_by is None]
    last = {row.module: number for number, row in enumerate(counted)}
    alone = {id(row) for row in (*longest, *(counted[last[name]] for name in behind if name in last))}
    for some in _merged(counted, alone):
        yield _bar(some, hidden=False)
        module = some[-1].module
        if module in behind and some[-1] is counted[last[module]]:
            yield from (_bar(rows, hidden=True) for rows in _merged(behind.pop(module), alone))
    # What hides them has no time: they stand at the end.
    yield from (_bar(some, hidden=True) for rows in behind.values() for some in _merged(rows, alone))


def _merged(rows: Sequence[Row], alone: set[int]) -> Iterator[list[Row]]:
    """The rows, each by itself whose id is in `alone`, and neighbours of one group that are not as one."""
    for _, some in groupby(rows, key=lambda row: (row.group, id(row) if id(row) in alone else None)):
        yield list(some)


def _bar(rows: Sequence[Row], hidden: bool) -> Bar:
    label = rows[0].label if len(rows) == 1 else f"{len(rows)} short rows"
    short = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 3]}..."
    return Bar(label=short, group=rows[0].group, rows=tuple(rows), hidden=hidden)


class Place(Record):
    """Where a bar stands on one device, seconds from the start of the layer."""

    left: float
    seconds: float | None
    #: its times in words, and where they begin
    text: str
    right: float
    #: the other devices that have a time for it
    others: tuple[float, ...] = ()
    #: number of the bar that goes on where this one ends
    following: int


def places(some: Sequence[Bar], device: str, beside: Sequence[str], goes_on: bool) -> list[Place]:
    """Each bar begins where the one before it ended; a hidden one begins with what hides it and moves nothing.

    `goes_on`: whether one more bar follows, of what no row explains.
    """
    found: list[Place] = []
    end = 0.0
    behind: dict[str, float] = {}
    for number, bar in enumerate(some):
        seconds = bar.seconds(device)
        module = (bar.rows[0].hidden_by or "") if bar.hidden else ""
        start = behind.get(module, end) if bar.hidden else end
        others = {other: time for other in beside if (time := bar.seconds(other)) is not None}
        last = len(some) if goes_on else number
        found.append(
            Place(
                left=start,
                seconds=seconds,
                text=_said(bar, seconds, others),
                right=start + max(seconds or 0.0, *others.values(), 0.0),
                others=tuple(others.values()),
                following=next((later for later in range(number + 1, len(some)) if not some[later].hidden), last),
            )
        )
        if bar.hidden:
            behind[module] = start + (seconds or 0.0)
        else:
            end += seconds or 0.0
            behind |= {row.module: start for row in bar.rows if row.module not in behind}
    return found


def _said(bar: Bar, seconds: float | None, others: dict[str, float]) -> str:
    mine = "no time" if seconds is None else f"({microseconds(seconds)})" if bar.hidden else microseconds(seconds)
    ratios = {other: f" ({time / seconds:.2f}x)" if seconds else "" for other, time in others.items()}
    return "; ".join([mine, *(f"{other} {microseconds(time)}{ratios[other]}" for other, time in others.items())])


def left(profile: Profile, device: str) -> float:
    """What the rows leave of the published time of one layer, seconds; 0 where none was published."""
    found = explained(profile, device)
    return found.left / found.count if found else 0.0
