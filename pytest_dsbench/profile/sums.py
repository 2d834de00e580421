"""Sums over the rows of a profile, held against those that were published; hidden rows are added nowhere."""

from collections.abc import Iterable
from typing import Literal

from ..record import Record
from .record import Profile, Row, Stated, total


class Sum(Record):
    """What some rows take on one device, and what the source says that they take."""

    seconds: float
    #: half of the last digits of all times in it, seconds
    rounding: float
    #: rows with a time
    timed: int
    #: rows without one: where there are any, the sum is a lower bound
    untimed: tuple[Row, ...] = ()
    stated: Stated | None = None

    @property
    def off(self) -> float:
        """Published time less the sum, seconds; 0 where nothing was published."""
        return self.stated.seconds - self.seconds if self.stated else 0.0

    @property
    def verdict(self) -> Literal["unpublished", "follows", "rounding", "open", "contradiction"]:
        """Whether the published time follows from the rows.

        "rounding": as far as the digits go; "open": there is more in it, which rows without a time can hold.
        """
        if self.stated is None:
            return "unpublished"
        if abs(self.off) <= 1e-9 * self.seconds:
            return "follows"
        if abs(self.off) <= self.rounding + self.stated.rounding:
            return "rounding"
        return "open" if self.off > 0 and self.untimed else "contradiction"


def summed(rows: Iterable[Row], device: str, stated: Stated | None = None) -> Sum:
    """The sum over the rows that have a time on a device."""
    found = list(rows)
    timed = [row for row in found if device in row.seconds]
    return Sum(
        seconds=total(timed, device),
        rounding=sum(row.rounding.get(device, 0.0) for row in timed),
        timed=len(timed),
        untimed=tuple(row for row in found if device not in row.seconds),
        stated=stated,
    )


def group_sum(profile: Profile, group: str, device: str) -> Sum:
    """The sum of a group; of a group that is hidden as a whole, that of its hidden rows."""
    rows = profile.of(group)
    counted = [row for row in rows if row.hidden_by is None]
    return summed(counted or rows, device, profile.stated_of("group", device, group))


def layer_sum(profile: Profile, device: str) -> Sum:
    """The sum of all rows that nothing hides: of a layer, or of the step where the profile covers one."""
    return summed(profile.counted(), device, profile.stated_of(profile.covers, device))


class Hidden(Record):
    """Rows behind one module."""

    module: str
    rows: Sum
    #: what hides them; without a time it may hide anything
    behind: Sum

    @property
    def fits(self) -> bool | None:
        """Whether the rows fit into what hides them; None where one of the two has no time."""
        known = self.rows.timed and self.behind.timed
        return self.rows.seconds <= self.behind.seconds + self.behind.rounding + self.rows.rounding if known else None


def hidden(profile: Profile, device: str) -> list[Hidden]:
    """What is hidden on a device, by the module that hides it."""
    modules = dict.fromkeys(row.hidden_by for row in profile.rows if row.hidden_by is not None)
    return [
        Hidden(
            module=module,
            rows=summed((row for row in profile.rows if row.hidden_by == module), device),
            behind=summed((row for row in profile.counted() if row.module == module), device),
        )
        for module in modules
    ]


class Explained(Record):
    """How much of the published time of all layers the rows of one explain."""

    stated: Stated
    count: int
    layer: Sum

    @property
    def seconds(self) -> float:
        """All layers, as if each took what this one takes."""
        return self.count * self.layer.seconds

    @property
    def left(self) -> float:
        """What the rows do not explain, seconds; negative where they take more than was published."""
        return self.stated.seconds - self.seconds

    @property
    def share(self) -> float:
        """The share that the rows explain."""
        return self.seconds / self.stated.seconds


def explained(profile: Profile, device: str) -> Explained | None:
    """The layers of one device; None where no time of them was published, no row has a time, or the rows are no layer."""
    stated, layer = profile.stated_of("layers", device), layer_sum(profile, device)
    if stated is None or not layer.timed or profile.covers != "layer":
        return None
    return Explained(stated=stated, count=stated.count or 1, layer=layer)
