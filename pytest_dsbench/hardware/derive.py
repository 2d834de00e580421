"""A data sheet computed from what the driver says, for an NVIDIA GPU that nobody wrote a sheet for.

It is a ceiling: the clock is the driver's maximum, which NVIDIA's own ratings of matrix units stay below by up to 17 %, and every
unit has its full rate, which some products have cut. So an efficiency against a derived sheet can be too low, hardly too high.
"""

import re

from ..mistake import Mistake
from ..units import Unit, show_rate
from .device import Device
from .sheet import DriverFacts, Hardware

OWN_SHEET = "--dsbench-hw=path/to/sheet.toml takes a sheet of your own"

#: Dense FLOP per clock of one SM by compute capability; an FMA is two, fp32 is the vector unit, the others are matrix units.
#: Sources: peaks divided by SMs and boost clock, from NVIDIA's architecture whitepapers on Volta (V100), Turing, Ampere (A100 and
#: GA102), Ada, Hopper (H100) and RTX Blackwell; for 10.0 and 10.3, which have no such table, from the GB200 NVL72 and GB300 NVL72
#: data sheets and the clock that the driver reports. Absent is what has no matrix unit, and 10.3's much reduced int8 and fp64,
#: whose rates the rounded published figures do not tell.
FLOP_PER_CLOCK: dict[str, dict[Unit, int]] = {
    "7.0": {"fp32": 128, "fp16": 1024},
    "7.5": {"fp32": 128, "fp16": 1024, "int8": 2048},
    "8.0": {"fp64": 128, "fp32": 128, "tf32": 1024, "fp16": 2048, "bf16": 2048, "int8": 4096},
    "8.6": {"fp32": 256, "tf32": 512, "fp16": 1024, "bf16": 1024, "int8": 2048},
    "8.9": {"fp32": 256, "tf32": 512, "fp16": 1024, "bf16": 1024, "fp8": 2048, "int8": 2048},
    "9.0": {"fp64": 256, "fp32": 256, "tf32": 2048, "fp16": 4096, "bf16": 4096, "fp8": 8192, "int8": 8192},
    "10.0": {
        "fp64": 128, "fp32": 256, "tf32": 4096, "fp16": 8192, "bf16": 8192, "fp8": 16384, "int8": 16384, "fp4": 32768,
    },
    "10.3": {"fp32": 256, "tf32": 4096, "fp16": 8192, "bf16": 8192, "fp8": 16384, "fp4": 49152},
    "12.0": {"fp32": 256, "tf32": 512, "fp16": 1024, "bf16": 1024, "fp8": 2048, "int8": 2048, "fp4": 4096},
}  # fmt: skip

#: GeForce boards multiply at half rate where the accumulator is fp32. bf16 and tf32 know no other; fp16 and fp8 keep their full
#: rate with an fp16 accumulator, so their ceiling stays.
_HALVED_ON_GEFORCE: tuple[Unit, ...] = ("bf16", "tf32")


def derive(device: Device) -> Hardware:
    """The sheet of an NVIDIA GPU out of what its driver says.

    FLOP/s = SMs x boost clock x FLOP per clock of an SM; B/s = memory clock x 2 x bus width / 8. Raises Mistake where the compute
    capability is not in the table, the driver keeps a number to itself, or the device is a MIG slice.
    """
    if " MIG " in device.name:
        # The slice's share of the SMs is known, its share of the memory's bandwidth is not.
        raise Mistake(f"{device} is a MIG slice, and the driver does not say how much memory bandwidth it has; {OWN_SHEET}")
    facts = _facts(device)
    rates = FLOP_PER_CLOCK.get(facts.capability)
    if rates is None:
        known = ", ".join(FLOP_PER_CLOCK)
        raise Mistake(
            f"no data sheet fits {device} and none can be derived: "
            f"compute capability {facts.capability} is not one of {known}; {OWN_SHEET}"
        )
    slow = _HALVED_ON_GEFORCE if "geforce" in device.name.lower() else ()
    clocks = device.sms * facts.boost
    return Hardware(
        name="derived_" + re.sub(r"[^a-z0-9]+", "_", device.name.lower().removeprefix("nvidia ")).strip("_"),
        title=device.name,
        peak={unit: clocks * rate / (2 if unit in slow else 1) for unit, rate in rates.items()},
        bandwidth=2 * facts.memory_clock * facts.memory_bus / 8,
        memory=device.memory,
        l2=device.l2,
        sms=device.sms,
        match=(device.name,),
        source=_source(device, facts),
        derived=True,
        driver=facts,
    )


def _facts(device: Device) -> DriverFacts:
    values = {name: getattr(device, name) for name in ("capability", "boost", "memory_clock", "memory_bus")}
    absent = [name.replace("_", " ") for name, value in values.items() if value is None]
    if absent:
        raise Mistake(
            f"no data sheet fits {device} and none can be derived: the driver does not tell its {', '.join(absent)} "
            f"(pip install nvidia-ml-py may help); {OWN_SHEET}"
        )
    return DriverFacts(**values)


def _source(device: Device, facts: DriverFacts) -> str:
    return (
        f"derived from the driver: {device.sms} SMs at {show_rate(facts.boost, 'Hz')} of compute capability {facts.capability}, "
        f"memory at {show_rate(facts.memory_clock, 'Hz')} on {facts.memory_bus} bit; "
        f"for a real sheet copy hardware/h200.toml, put in the vendor's dense numbers, "
        f"and pass it as --dsbench-hw=path/to/sheet.toml or send it to the project"
    )
