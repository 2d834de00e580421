"""Device -> Hardware: which data sheet is that of the device here."""

from collections.abc import Mapping

from ..mistake import Mistake
from ..units import show_bytes
from .derive import OWN_SHEET, derive
from .device import Device, device, has_gpu
from .load import named, sheets
from .sheet import Hardware

__all__ = ["Device", "covers", "device", "has_gpu", "match", "resolve"]

#: How far the driver's memory may be off. Vendors write 80 GB and mean 80 GiB, 7.4 % more, less what the driver keeps.
MEMORY_TOLERANCE = 0.10

_PLAN = "to see bounds without the device use --dsbench-plan"


def covers(sheet: Hardware, device: Device) -> bool:
    """Whether `sheet` is that of `device`: the driver's whole name, the SM count where the sheet has one, the memory within 10 %.

    The name alone does not do: a MIG slice, a 40 GB variant or a cut-down board of the same name is another device.
    """
    return (
        device.kind == "cuda"
        and device.name.casefold() in (name.casefold() for name in sheet.match)
        and sheet.sms in (None, device.sms)
        and (sheet.memory is None or abs(device.memory - sheet.memory) <= MEMORY_TOLERANCE * sheet.memory)
    )


def match(device: Device, sheets: Mapping[str, Hardware]) -> Hardware:
    """The sheet that covers `device`, or one derived from the driver for an NVIDIA GPU that no sheet covers.

    Of several the shortest name wins: gb200, not gb200_nvl72, which rates the same GPU higher and is asked for by name.
    Raises Mistake for a CPU, for another vendor's accelerator, and where nothing can be derived.
    """
    if device.kind == "cpu":
        raise Mistake(f"this machine has no GPU, its device is the CPU {device}; {_PLAN}")
    fitting = [sheet for sheet in sheets.values() if covers(sheet, device)]
    if fitting:
        return min(fitting, key=lambda sheet: (len(sheet.name), sheet.name))
    if device.vendor != "nvidia":
        raise Mistake(f"no data sheet fits {device}, and one can be derived for NVIDIA's GPUs only; {OWN_SHEET}")
    return derive(device)


def resolve(option: str | None, device: Device) -> Hardware:
    """The sheet to hold `device` against: the one `option` names (packaged, or a .toml path), or the one that matches without it.

    GPUs only: `--dsbench-hw=cpu` is the caller's, since a CPU's peaks are measured, not looked up. A .toml of the user's own that
    has no `match` is taken at its word; any other sheet has to cover the device, or Mistake names what was asked for and what is
    here.
    """
    if option is None:
        return match(device, sheets())
    sheet = named(option)
    taken_at_its_word = option.endswith(".toml") and not sheet.match
    if device.kind == "cuda" and (taken_at_its_word or covers(sheet, device)):
        return sheet
    raise Mistake(f"--dsbench-hw={option} asks for {_asked(sheet, device)}, but {_here(device)}; {_PLAN}")


def _asked(sheet: Hardware, device: Device) -> str:
    names = " or ".join(sheet.match) or sheet.title
    if device.name.casefold() not in (name.casefold() for name in sheet.match):
        return names
    # The same name on both sides would explain nothing: the numbers are what differs.
    facts = [f"{sheet.sms} SMs"] if sheet.sms else []
    facts += [show_bytes(sheet.memory)] if sheet.memory else []
    return f"{names} ({', '.join(facts)})"


def _here(device: Device) -> str:
    if device.kind == "cpu":
        return f"this machine has no GPU, its device is the CPU {device}"
    return f"the device here is {device}"
