"""The rows of a layer profile against the speed of light as text."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..profile.bounds import Lit, Most
from ..profile.lights import Lights, Open
from ..profile.record import Profile
from ..profile.times import microseconds
from ..units import show_bytes, show_flop, show_seconds, show_share
from .table import table


def bound_lines(profile: Profile, found: Lights) -> Iterator[str]:
    """Efficiencies at stated dimensions, then what is open and how large it can have been, then what has no bound."""
    for device, some in groupby(found.lit, key=lambda one: one.device):
        yield from ["", *_lit_lines(device, list(some))]
    if found.open:
        yield from ["", *_open_lines(profile, found.open)]
    if found.gaps:
        yield from ["", *found.gaps]


def _lit_lines(device: str, some: Sequence[Lit]) -> Iterator[str]:
    yield f"against the speed of light on {device}"
    head = ["", "module", "kernel", "operator", "bytes", "FLOP", "T", "T_SOL", "efficiency", "regime"]
    yield from table(head, map(_lit_cells, some), left=4)
    cached = [one.row.label for one in some if one.cached]
    if cached:
        yield f"  over 100 %, which takes data that are in the cache already: {', '.join(cached)}"
    took, light = sum(one.seconds for one in some), sum(one.bound.seconds for one in some)
    yield f"  these {len(some)} rows took {microseconds(took)} and need {show_seconds(light)}: {show_share(light / took)}"


def _lit_cells(one: Lit) -> list[str]:
    work = [show_bytes(one.work.bytes), show_flop(one.work.flops)]
    times = [microseconds(one.seconds), show_seconds(one.bound.seconds), show_share(one.efficiency)]
    return ["", one.row.module or "-", one.row.kernel or "-", one.row.operator or "-", *work, *times, one.bound.regime]


def _open_lines(profile: Profile, some: Sequence[Open]) -> Iterator[str]:
    open_ = dict.fromkeys(one.variable for one in some)
    names = sorted(open_, key=lambda name: [*profile.variables, *open_].index(name))
    yield "not stated, so that these rows have no efficiency; --at NAME=N or --at DEVICE.NAME=N states it:"
    yield from (f"  {name}: {profile.variables.get(name, 'published of another device alone')}" for name in names)
    devices = list(dict.fromkeys(one.device for one in some))
    yield (
        "how large each was at most: beyond it T_SOL, with the others that are open at 1, is longer than the time;"
        " (in brackets) if a cache helped as much as it can"
    )
    cells: dict[tuple[int, str], list[str]] = {}
    for one in some:
        head = ["", one.row.module or "-", one.row.kernel or "-", one.variable, *("-" for _ in devices)]
        line = cells.setdefault((id(one.row), one.variable), head)
        line[4 + devices.index(one.device)] = shown_most(one.most)
    yield from table(["", "module", "kernel", "variable", *devices], cells.values(), left=4)
    for device in devices:
        limits = list(_tightest([one for one in some if one.device == device]))
        if limits:
            yield f"  so on {device} at most: {'; '.join(limits)}"


def shown_most(most: Most | None) -> str:
    """A limit for people; the one with the help of a cache in brackets, where it is another."""
    if most is None:
        return "-"
    cold, warm = ("any" if one is None else f"{one:,}" for one in (most.cold, most.warm))
    return cold if cold == warm else f"{cold} ({warm})"


def _tightest(some: Sequence[Open]) -> Iterator[str]:
    """The least of the limits that hold even with the help of a cache, variable by variable."""
    for name in dict.fromkeys(one.variable for one in some):
        limits = [(one.most.warm, one) for one in some if one.variable == name and one.most and one.most.warm]
        if limits:
            most, one = min(limits, key=lambda pair: pair[0])
            yield f"{name} {most:,} (by {one.row.label})"
