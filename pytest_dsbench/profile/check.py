"""A profile held against itself: what its rows and published times name must be there."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .. import formula
from ..dims import fields
from ..hardware import named
from ..mistake import Mistake, unknown
from ..operators import find
from ..tables import AtLine
from .record import Profile, Row, Stated


def check(profile: Profile) -> None:
    """Raises AtLine for the first thing that does not fit."""
    for number, device in enumerate(profile.devices):
        with _at(1):
            if device.name in [one.name for one in profile.devices[:number]]:
                raise Mistake(f"device {device.name!r} is declared twice")
            if device.hw is not None:
                named(device.hw)
    for count in (profile.layers, profile.alike):
        if count is not None and count < 1:
            raise AtLine(1, f"{count} layers; expected 1 or more")
    for one in profile.stated:
        with _at(one.line):
            _stated(profile, one)
    for row in profile.rows:
        with _at(row.line):
            _row(profile, row)
    if not any(row.seconds for row in profile.rows):
        raise AtLine(1, "no row has a time; there is nothing to profile")


@contextmanager
def _at(line: int) -> Iterator[None]:
    """A Mistake in here is one at that line."""
    try:
        yield
    except Mistake as error:
        raise AtLine(line or 1, str(error)) from None


def _known(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    names = list(known)
    for one in given:
        if one not in names:
            raise Mistake(unknown(what, one, names))


def _stated(profile: Profile, one: Stated) -> None:
    _known("device", [one.device], [device.name for device in profile.devices])
    if one.what == "group":
        _known("group", [one.name], profile.groups())
    if (one.count is None) == (one.what == "layers") or (one.count is not None and one.count < 1):
        raise Mistake(f"a time of {one.what!r} with count {one.count}; only 'layers' have one: how many, 1 or more")
    if profile.stated_of(one.what, one.device, one.name) is not one:
        raise Mistake(f"the {one.what} {one.name + ' ' if one.name else ''}of {one.device} has two published times")


def _row(profile: Profile, row: Row) -> None:
    _known("device", row.seconds, [device.name for device in profile.devices])
    if not row.group:
        raise Mistake("the row names no group")
    if row.calls is not None and row.calls < 1:
        raise Mistake(f"calls is {row.calls}; expected 1 or more")
    if row.hidden_by is not None:
        _known("module to hide behind", [row.hidden_by], {one.module for one in profile.counted() if one.module})
    if row.operator is None:
        if row.dims:
            raise Mistake("dims without an operator; name the operator that they are of")
        return
    cls = find(row.operator)
    _known(f"dimension of {cls.name}", row.dims, cls.__struct_fields__)
    missing = [field.name for field in fields(cls) if field.required and field.name not in row.dims]
    if missing:
        raise Mistake(f"{cls.name}: dimension {missing[0]!r} is missing")
    names = [*profile.constants, *profile.variables, *(name for device in profile.devices for name in device.constants)]
    for text in formulas(row):
        _known(f"name in the formula {text!r}", sorted(formula.names(text)), names)


def formulas(row: Row) -> list[str]:
    """The formulas of a row."""
    return [value for value in (*row.dims.values(), row.times) if isinstance(value, str) and formula.is_formula(value)]
