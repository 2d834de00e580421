"""Nic: the network port of one GPU as a data sheet, loaded by name or path."""

from pathlib import Path
from typing import Any

from ... import datasheet
from ...datasheet import SheetError, amount, check_keys, string
from ...mistake import Mistake, unknown
from ...record import Record

NICS = Path(__file__).parent / "nics"
_KEYS = ("title", "bandwidth", "latency", "source")


class Nic(Record):
    """The port through which one GPU reaches those of other nodes; vendor figures, no derating ever lives here."""

    #: short name, as in --nic; the file's stem
    name: str
    #: the name people use
    title: str
    #: line rate in B/s, in one direction
    bandwidth: float
    #: time before the first byte arrives, seconds; None where the vendor states none for a transfer between GPUs
    latency: float | None
    #: where the figures come from
    source: str


def names() -> list[str]:
    """The packaged NICs."""
    return sorted(path.stem for path in NICS.glob("*.toml"))


def named(name_or_path: str) -> Nic:
    """The packaged NIC of that name, or the one at a path ending in `.toml`. Raises Mistake where there is none."""
    if name_or_path.endswith(".toml"):
        return datasheet.read(Path(name_or_path), "NIC", _nic)
    if name_or_path not in names():
        raise Mistake(f"{unknown('NIC', name_or_path, names())}, or the path of a .toml sheet")
    return datasheet.read(NICS / f"{name_or_path}.toml", "NIC", _nic)


def _nic(name: str, data: dict[str, Any]) -> Nic:
    check_keys(data, (), _KEYS, ("bandwidth", "source"))
    return Nic(
        name=name,
        title=string(data.get("title", name), ("title",)),
        bandwidth=_bandwidth(data["bandwidth"]),
        latency=amount(data["latency"], ("latency",), "s") if "latency" in data else None,
        source=string(data["source"], ("source",)),
    )


def _bandwidth(value: object) -> float:
    """B/s out of bits per second, as NICs are sold, or bytes per second."""
    if not isinstance(value, str) or not value.strip().endswith(("b/s", "B/s")):
        expected = "a number and its unit in b/s or B/s, in quotes, such as '400 Gb/s' or '50 GB/s'"
        raise SheetError(("bandwidth",), f"bandwidth is {value!r}; expected {expected}")
    bits = value.strip().endswith("b/s")
    return amount(value, ("bandwidth",), "b/s") / 8 if bits else amount(value, ("bandwidth",), "B/s")
