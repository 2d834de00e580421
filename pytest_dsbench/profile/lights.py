"""All rows of a profile that map to an operator, on all devices with a sheet."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..hardware.sheet import Hardware
from ..mistake import Mistake
from ..record import Record
from ..units import show_memory, show_seconds, show_share
from .bounds import Lit, Most, Stated, at_most, free, lit
from .record import Device, Profile, Row
from .times import microseconds


class Open(Record):
    """A row whose dimensions are not all stated, and how large one of them can have been."""

    device: str
    row: Row
    variable: str
    #: None where the row cannot be built with the other open variables at 1
    most: Most | None


class Lights(Record):
    """What the speed of light says about a profile."""

    lit: tuple[Lit, ...] = ()
    open: tuple[Open, ...] = ()
    #: what could not be held against anything, a sentence each
    gaps: tuple[str, ...] = ()
    #: times that no device could reach, a sentence each
    errors: tuple[str, ...] = ()


def lights(profile: Profile, sheets: Mapping[str, Hardware], at: Stated) -> Lights:
    """Every mapped row with a time, at stated dimensions or with the largest that its time allows."""
    found: list[Lit | Open] = []
    gaps: list[str] = []
    for device in profile.devices:
        for row in profile.rows if device.name in sheets else ():
            if row.operator is None or device.name not in row.seconds:
                continue
            try:
                found += _row(profile, row, device, sheets[device.name], at)
            except Mistake as error:
                gaps.append(f"no bound of {row.label} on {device.name}: {profile.path}:{row.line}: {error}")
    errors = (_error(one, sheets) for one in found)
    return Lights(
        lit=tuple(one for one in found if isinstance(one, Lit)),
        open=tuple(one for one in found if isinstance(one, Open)),
        gaps=tuple(gaps),
        # Of a row with several open variables each says the same.
        errors=tuple(dict.fromkeys(error for error in errors if error)),
    )


def _row(profile: Profile, row: Row, device: Device, sheet: Hardware, at: Stated) -> Iterator[Lit | Open]:
    scope = at.scope(profile, device)
    names = free(row, scope)
    if not names:
        yield lit(row, device, sheet, scope)
    for name in names:
        yield Open(device=device.name, row=row, variable=name, most=_most(row, device, sheet, scope, name))


def _most(row: Row, device: Device, sheet: Hardware, scope: Mapping[str, Any], name: str) -> Most | None:
    try:
        return at_most(row, device, sheet, scope, name)
    except Mistake:
        return None


def _error(one: Lit | Open, sheets: Mapping[str, Hardware]) -> str | None:
    """One sentence where a time beats the speed of light, whatever was in the cache."""
    took = f"{one.row.label} on {one.device} took {microseconds(one.row.seconds[one.device])}"
    wrong = "so these are not the dimensions of that run, or the row maps to the wrong operator"
    if isinstance(one, Open):
        none = one.most is not None and one.most.warm == 0
        return f"{took}, which no size allows: even with all that is open at 1 light takes longer; {wrong}" if none else None
    if not one.impossible:
        return None
    cache = sheets[one.device].l2
    least = f", and {show_seconds(one.least)} with all the help of its cache of {show_memory(cache)}" if cache else ""
    return (
        f"{took}, {show_share(one.efficiency)} of the speed of light at these dimensions: T_SOL is"
        f" {show_seconds(one.bound.seconds)}{least}; {wrong}"
    )
