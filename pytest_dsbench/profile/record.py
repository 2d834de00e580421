"""The record of a layer profile: devices, rows in the order in which they ran, and the sums that were published beside them."""

from collections.abc import Iterable
from typing import Any, Literal

from ..record import Record

#: What a published time covers: one group, one layer, `count` layers, or a whole step with what lies outside of the layers.
Covers = Literal["group", "layer", "layers", "step"]


class Device(Record):
    """One device that the rows were measured on."""

    #: short name, as in the columns of a CSV and in `--at b200.tokens=512`
    name: str
    #: name of its data sheet; None where it has none, so that nothing can be held against it
    hw: str | None = None
    title: str = ""
    #: what is known of its run, such as the batch
    note: str = ""
    #: what its run fixes, such as `tokens`, where it was published; it goes before the constants of the profile
    constants: dict[str, Any] = {}


class Row(Record):
    """One kernel of a layer."""

    group: str
    #: the part of the model that ran it; empty where the source names none
    module: str = ""
    #: the kernel as the source names it, possibly cut short; empty where it names none
    kernel: str = ""
    #: seconds by device; a device that is absent has no time here, which is not a time of zero
    seconds: dict[str, float] = {}
    #: half of the last digit that the source gives, seconds by device; absent where the time was not rounded
    rounding: dict[str, float] = {}
    #: launches per layer that `seconds` sums up; None where the source does not say, which counts as one
    calls: int | None = None
    #: the module whose time hides this row: they overlap, so that it is never added a second time
    hidden_by: str | None = None
    #: our operator for the work of this row; None where none fits
    operator: str | None = None
    #: its dimensions: values, or formulas such as "= heads * 128" over the constants and what the user states
    dims: dict[str, Any] = {}
    #: how many of the operator one launch does, such as the heads of a batched product: a number or a formula
    times: int | str = 1
    #: why a row has no operator or no time, or what its operator leaves out
    note: str = ""
    #: line of the file, 0 where there is none
    line: int = 0

    @property
    def label(self) -> str:
        """How people name it: module and kernel, or what there is of the two."""
        return " ".join(part for part in (self.module, self.kernel) if part) or self.group


class Stated(Record):
    """A time that the source states beside its rows."""

    what: Covers
    #: of a group its name, otherwise empty
    name: str = ""
    device: str
    seconds: float
    #: half of the last digit that the source gives, seconds
    rounding: float = 0.0
    #: how many layers the time covers; None where it is no time of layers
    count: int | None = None
    #: line of the file, 0 where there is none
    line: int = 0


class Profile(Record):
    """The times of one layer, and what is known of them."""

    #: short name; the file's stem
    profile: str
    title: str = ""
    #: where the numbers come from
    source: str = ""
    #: the first one is the reference of every ratio
    devices: tuple[Device, ...]
    #: what dims may name: the model's numbers, and whatever else is published
    constants: dict[str, Any] = {}
    #: what else dims may name, with a word on each: not published, so that who asks for bounds states it
    variables: dict[str, str] = {}
    rows: tuple[Row, ...]
    #: what the rows make up together
    covers: Literal["layer", "step"] = "layer"
    stated: tuple[Stated, ...] = ()
    #: layers of the whole model; None where it is not stated
    layers: int | None = None
    #: those among them that are of the kind of the rows; None where it is not stated
    alike: int | None = None
    notes: tuple[str, ...] = ()
    #: the file as shown in messages
    path: str = ""

    def device(self, name: str) -> Device:
        """The device of that short name; raises KeyError."""
        return {one.name: one for one in self.devices}[name]

    def groups(self) -> tuple[str, ...]:
        """The groups in the order in which they first appear, hidden ones too."""
        return tuple(dict.fromkeys(row.group for row in self.rows))

    def of(self, group: str) -> tuple[Row, ...]:
        """The rows of one group."""
        return tuple(row for row in self.rows if row.group == group)

    def counted(self) -> tuple[Row, ...]:
        """The rows that add up to the layer: those that nothing hides."""
        return tuple(row for row in self.rows if row.hidden_by is None)

    def stated_of(self, what: Covers, device: str, name: str = "") -> Stated | None:
        """The published time of a group, of the layers or of the step on one device."""
        return next((one for one in self.stated if (one.what, one.device, one.name) == (what, device, name)), None)


def total(rows: Iterable[Row], device: str) -> float:
    """The sum of the times there are; whoever shows it says which rows are missing in it."""
    return sum(row.seconds[device] for row in rows if device in row.seconds)
