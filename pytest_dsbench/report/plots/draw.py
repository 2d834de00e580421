"""All pictures of a collection, and a sentence for each that there is none of."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ...record import Record
from ...results import Collection, Device, compare
from .comparison import comparison, last_two, of_device
from .history import LEAST, history
from .operators import efficiency
from .roofline import roofline
from .scaling import scaling
from .write import save

Kind = Literal["roofline", "efficiency", "scaling", "history", "runs", "devices"]


class Picture(Record):
    """One picture in its formats."""

    kind: Kind
    #: keys of the devices that it shows
    devices: tuple[str, ...]
    #: what it shows, in a few words
    title: str
    #: .png, .svg
    paths: tuple[Path, ...]


class Drawn(Record):
    """The pictures of a collection."""

    pictures: tuple[Picture, ...]
    #: a sentence for each that was not drawn: why
    left_out: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file."""
        return tuple(path for picture in self.pictures for path in picture.paths)


#: A kind, the devices, a title, and the figure or why there is none.
_Found = tuple[Kind, tuple[str, ...], str, Any]


def draw(collection: Collection, folder: Path) -> Drawn:
    """Draws all that there is to a folder, one figure in memory at a time. Raises Mistake where it cannot be written."""
    pictures, left_out = [], []
    for kind, devices, title, figure in _figures(collection):
        if isinstance(figure, str):
            left_out.append(f"no {title}: {figure}")
        else:
            paths = tuple(save(figure, folder, _file_name(kind, devices)))
            pictures.append(Picture(kind=kind, devices=devices, title=title, paths=paths))
    return Drawn(pictures=tuple(pictures), left_out=tuple(left_out))


def _file_name(kind: str, devices: tuple[str, ...]) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join([kind, *devices]))


def _figures(collection: Collection) -> Iterator[_Found]:
    for device in collection.devices:
        key = (device.key,)
        yield "roofline", key, f"roofline of {device.key}", roofline(device) or "no case of it has a time"
        yield "efficiency", key, f"efficiency by operator on {device.key}", efficiency(device) or "no case of it counts"
        alike = "no operator has three cases that differ in one number alone"
        yield "scaling", key, f"scaling on {device.key}", scaling(device) or alike
        if len(device.sources) > 1:
            # Of one run nobody expects them, so that nothing is missing.
            yield "history", key, f"history on {device.key}", _history(device)
            yield "runs", key, f"comparison of the last two runs on {device.key}", _runs(device)
    first, *others = collection.devices or (None,)
    for other in others:
        assert first is not None and other is not None
        keys, title = (first.key, other.key), f"comparison of {first.key} and {other.key}"
        found = compare(first.latest, other.latest)
        heading = f"{other.title} ({other.key}) against {first.title} ({first.key})"
        figure = comparison(heading, of_device(first), of_device(other), found)
        yield "devices", keys, title, figure or "they have no passed case in common"


def _history(device: Device) -> Any:
    runs = sum(bool(source.header.started) for source in device.sources)
    if runs < LEAST:
        return f"it takes {LEAST} dated runs, and there {'is' if runs == 1 else 'are'} {runs or 'none'}"
    return history(device) or f"no case has a step over {runs} runs"


def _runs(device: Device) -> Any:
    found = last_two(device)
    title = f"{device.title} ({device.key}): {found[1].name} against {found[0].name}" if found else ""
    figure = comparison(title, *found) if found else None
    return figure or "no earlier run has a passed case in common with the last"
