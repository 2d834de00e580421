"""Devices side by side: ratios, what the data sheets alone would give, and rows that take longer on the faster device."""

import re
from collections.abc import Mapping
from typing import Any

from ..hardware.sheet import Hardware
from ..mistake import Mistake
from ..record import Record
from ..roofline import bound
from ..units import Unit
from .bounds import Stated, free, work
from .record import Device, Profile, Row, total

#: "sm_90", "sm100f", "Sm100fKernel": an architecture in the name of a kernel; older ones than sm_50 are counts of something else.
_ARCHITECTURE = re.compile(r"(?:(?<![A-Za-z])sm|(?<![A-Z])S[Mm])_?(\d{2,3})(?!\d)")
_OLDEST = 50


class Pair(Record):
    """A row that has a time on both devices."""

    row: Row
    #: time on the second device / time on the reference
    ratio: float
    #: the same of T_SOL: at stated dimensions one value, otherwise from the least to the most that the sheets allow; None where
    #: the row maps to no operator, or a device has no sheet
    sheets: tuple[float, float] | None = None
    #: T_SOL on the second device / T_SOL on the reference, each at its own dimensions; None where they are not all stated
    stated: float | None = None

    @property
    def work(self) -> tuple[float, float] | None:
        """How much more work the second device did if it came as near to its limits as the reference did to its own."""
        return (self.ratio / self.sheets[1], self.ratio / self.sheets[0]) if self.sheets else None


class Comparison(Record):
    """A device beside the reference, over the rows that nothing hides and both have."""

    reference: Device
    other: Device
    pairs: tuple[Pair, ...]
    #: seconds over those rows
    before: float
    after: float
    #: which of the two is the faster one by its sheet; None where neither is, or one has no sheet
    faster: str | None

    def slower(self) -> list[Pair]:
        """The rows that take longer on the device that is faster by its sheet."""
        if self.faster is None:
            return []
        return [pair for pair in self.pairs if (pair.ratio > 1) == (self.faster == self.other.name) and pair.ratio != 1]


def compare(profile: Profile, other: Device, sheets: Mapping[str, Hardware], at: Stated) -> Comparison:
    """A device beside the first one of a profile."""
    reference = profile.devices[0]
    rows = [row for row in profile.counted() if {reference.name, other.name} <= row.seconds.keys()]
    return Comparison(
        reference=reference,
        other=other,
        pairs=tuple(_pair(profile, row, (reference, other), sheets, at) for row in rows),
        before=total(rows, reference.name),
        after=total(rows, other.name),
        faster=_faster(reference, other, sheets.get(reference.name), sheets.get(other.name)),
    )


def _faster(reference: Device, other: Device, first: Hardware | None, second: Hardware | None) -> str | None:
    if first is None or second is None:
        return None
    names = {1: other.name, -1: reference.name}
    return names.get(_order(first, second))


def _order(first: Hardware, second: Hardware) -> int:
    """1 where the second is nowhere slower by its sheet and somewhere faster, -1 the other way round, otherwise 0."""
    pairs = [(first.bandwidth, second.bandwidth), *((first.peak[unit], second.peak[unit]) for unit in _shared(first, second))]
    if all(a == b for a, b in pairs):
        return 0
    return 1 if all(a <= b for a, b in pairs) else -1 if all(a >= b for a, b in pairs) else 0


def _shared(first: Hardware, second: Hardware) -> list[Unit]:
    """Units that both have; fp64 is left out, which no row of such a layer uses."""
    return [unit for unit in first.peak if unit in second.peak and unit != "fp64"]


def _pair(profile: Profile, row: Row, devices: tuple[Device, Device], sheets: Mapping[str, Hardware], at: Stated) -> Pair:
    first, second = devices
    pair = Pair(row=row, ratio=row.seconds[second.name] / row.seconds[first.name])
    if row.operator is None or first.name not in sheets or second.name not in sheets:
        return pair
    scopes = {device.name: at.scope(profile, device) for device in devices}
    open_ = [name for scope in scopes.values() for name in free(row, scope)]
    here, there = sheets[first.name], sheets[second.name]
    try:
        if open_:
            return pair.replace(sheets=_range(row, {**dict.fromkeys(open_, 1), **scopes[first.name]}, here, there))
        before, after = (bound(work(row, scopes[first.name], sheet), sheet).seconds for sheet in (here, there))
        own = bound(work(row, scopes[second.name], there), there).seconds
        return pair.replace(sheets=(after / before, after / before), stated=own / before)
    except Mistake:
        # What is wrong with the row is said where it is held against its bound.
        return pair


def _range(row: Row, scope: Mapping[str, Any], first: Hardware, second: Hardware) -> tuple[float, float]:
    """T_SOL shrinks by the ratio of the bandwidths, by that of the peaks of a unit that the operator uses, or between."""
    units = [unit for unit, count in work(row, scope, first).flop.items() if count]
    ratios = [first.bandwidth / second.bandwidth, *(first.rate(unit) / second.rate(unit) for unit in units)]
    return min(ratios), max(ratios)


class Foreign(Record):
    """Kernels with a time on a device whose names say that they were built for a newer architecture."""

    device: Device
    capability: str
    kernels: tuple[str, ...]
    #: other devices of the profile that could have run all of them
    possible: tuple[str, ...]


def foreign(profile: Profile, sheets: Mapping[str, Hardware]) -> list[Foreign]:
    """Kernels that cannot have run where they have a time; what is built for an older architecture may run on a newer one."""
    own = {device.name: _architecture(sheets[device.name]) for device in profile.devices if device.name in sheets}
    found = []
    for device in profile.devices:
        limit = own.get(device.name)
        rows = [row for row in profile.rows if device.name in row.seconds]
        built = {row.kernel: _built_for(row.kernel) for row in rows}
        newer = {kernel: needed for kernel, needed in built.items() if limit is not None and needed > limit}
        if newer and limit is not None:
            able = tuple(name for name, there in own.items() if there is not None and there >= max(newer.values()))
            capability = f"sm_{limit}"
            found.append(Foreign(device=device, capability=capability, kernels=tuple(newer), possible=able))
    return found


def _architecture(hardware: Hardware) -> int | None:
    """9.0 as 90, as in the names of kernels."""
    return int(hardware.driver.capability.replace(".", "")) if hardware.driver else None


def _built_for(kernel: str) -> int:
    """The newest architecture that the name of a kernel gives; 0 where it gives none."""
    found = [int(number) for number in _ARCHITECTURE.findall(kernel)]
    return max((number for number in found if number >= _OLDEST), default=0)
