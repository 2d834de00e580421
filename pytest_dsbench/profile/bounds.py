"""Rows that map to an operator against the speed of light: at stated dimensions, or the largest that their time allows."""

from collections.abc import Callable, Mapping
from typing import Any

from .. import formula
from ..dims import built
from ..hardware.sheet import Hardware
from ..mistake import Mistake, unknown
from ..record import Record
from ..roofline import Bound, bound
from ..work import Work
from .check import formulas
from .record import Device, Profile, Row

#: No variable is looked for above this.
_MOST = 2**40


class Stated(Record):
    """What the user states with --at: for all devices, and for some."""

    everywhere: dict[str, int] = {}
    on: dict[str, dict[str, int]] = {}

    def scope(self, profile: Profile, device: Device) -> dict[str, Any]:
        """The names that formulas of rows may use on a device."""
        return {**profile.constants, **device.constants, **self.everywhere, **self.on.get(device.name, {})}


def stated(profile: Profile, given: list[str]) -> Stated:
    """Reads "tokens=128" and "b200.tokens=512". Raises Mistake."""
    everywhere: dict[str, int] = {}
    on: dict[str, dict[str, int]] = {}
    devices = [device.name for device in profile.devices]
    # What was published of one device's run has to be stated for the others.
    known = {*profile.variables, *(name for device in profile.devices for name in device.constants)}
    for text in given:
        names, equals, value = text.partition("=")
        device, dot, name = names.rpartition(".")
        if not equals or not value.strip().isdecimal() or int(value) < 1:
            raise Mistake(f"--at {text!r}: expected NAME=N or DEVICE.NAME=N with a whole number from 1 on, such as tokens=128")
        if dot and device not in devices:
            raise Mistake(f"--at {text!r}: {unknown('device', device, devices)}")
        if name not in known:
            raise Mistake(f"--at {text!r}: {unknown('variable of this profile', name, known)}")
        (on.setdefault(device, {}) if dot else everywhere)[name] = int(value)
    return Stated(everywhere=everywhere, on=on)


class Lit(Record):
    """One row on one device at stated dimensions."""

    row: Row
    device: str
    work: Work
    bound: Bound
    seconds: float
    #: what even a last-level cache full of its data cannot shorten, seconds
    least: float

    @property
    def efficiency(self) -> float:
        """T_SOL / T."""
        return self.bound.seconds / self.seconds

    @property
    def slack(self) -> float:
        """The longest time that rounds to what was published, seconds."""
        return self.seconds + self.row.rounding.get(self.device, 0.0)

    @property
    def impossible(self) -> bool:
        """Whether no data in the cache could explain the time."""
        return self.least > self.slack

    @property
    def cached(self) -> bool:
        """Whether the time is below T_SOL, and data in the cache could explain it."""
        return not self.impossible and self.bound.seconds > self.slack


def free(row: Row, scope: Mapping[str, Any]) -> list[str]:
    """The names that a row's formulas use and nobody has stated, in the order in which they come."""
    names = [name for text in formulas(row) for name in sorted(formula.names(text), key=text.index)]
    return [name for name in dict.fromkeys(names) if name not in scope]


def work(row: Row, scope: Mapping[str, Any], hardware: Hardware) -> Work:
    """What all launches of a row must do. Raises Mistake where dimensions are wrong."""
    assert row.operator is not None, f"{row.label} maps to no operator"
    op = built(row.operator, row.dims, scope, hardware.fp8_encoding)
    times = formula.resolve(row.times, scope)
    if not isinstance(times, int) or times < 1:
        raise Mistake(f"times is {times!r}; expected a whole number from 1 on")
    return op.work() * (times * (row.calls or 1))


def least(what: Work, hardware: Hardware) -> float:
    """Seconds that the work takes at least if the last-level cache helps as much as it can.

    A kernel may find a cache full of what the one before it wrote, and leave a cache full for the one after it. On a sheet that
    does not give the size of the cache this is T_SOL.
    """
    cache = int(hardware.l2 or 0)
    beyond = what.replace(read=max(what.read - cache, 0), written=max(what.written - cache, 0))
    return bound(beyond, hardware).seconds


def lit(row: Row, device: Device, hardware: Hardware, scope: Mapping[str, Any]) -> Lit:
    """A row with a time on a device, against its bound. Raises Mistake where dimensions are wrong or the device lacks a unit."""
    what = work(row, scope, hardware)
    return Lit(
        row=row,
        device=device.name,
        work=what,
        bound=bound(what, hardware),
        seconds=row.seconds[device.name],
        least=least(what, hardware),
    )


class Most(Record):
    """The largest value of one variable that fits a time, the other open ones at 1."""

    #: with all data from memory, and with all the help that a cache can give; None where no value is too large, 0 where none fits
    cold: int | None
    warm: int | None


def at_most(row: Row, device: Device, hardware: Hardware, scope: Mapping[str, Any], name: str) -> Most:
    """How large a variable can have been: work grows with every dimension, so that the bound holds whatever the others were.

    Raises Mistake where the row cannot be built at some value on the way.
    """
    others = {other: 1 for other in free(row, scope) if other != name}
    budget = row.seconds[device.name] + row.rounding.get(device.name, 0.0)

    def at(value: int) -> Work:
        return work(row, {**scope, **others, name: value}, hardware)

    return Most(
        cold=_largest(lambda value: bound(at(value), hardware).seconds <= budget),
        warm=_largest(lambda value: least(at(value), hardware) <= budget),
    )


def _largest(fits: Callable[[int], bool]) -> int | None:
    """The largest value from 1 on that fits, by doubling and halving; 0 where none does, None where all do."""
    if not fits(1):
        return 0
    low, high = 1, 2
    while fits(high):
        if high >= _MOST:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
