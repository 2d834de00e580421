"""Hardware: one data sheet as a value. Vendor numbers and their source; no derating ever lives here."""

from typing import Literal

from ..mistake import Mistake
from ..record import Record
from ..units import Fp8Dtype, Unit


class DriverFacts(Record):
    """What the driver of an NVIDIA GPU reports and a sheet can be derived from."""

    #: compute capability, such as "9.0"
    capability: str
    #: boost clock of the SMs in Hz, as the vendor's peaks assume it
    boost: float
    #: memory clock in Hz, half the data rate
    memory_clock: float
    #: width of the memory bus in bits
    memory_bus: int


class Hardware(Record):
    """The data sheet of one device: dense peaks in FLOP/s, bandwidth in B/s, sizes in bytes, times in seconds."""

    #: short name, as in --dsbench-hw=h200; the file's stem
    name: str
    #: the name people use
    title: str
    kind: Literal["gpu", "cpu"] = "gpu"
    vendor: str = "nvidia"
    #: dense peak FLOP/s of each unit the device has; a unit it lacks is absent, never guessed
    peak: dict[Unit, float]
    #: device memory bandwidth, B/s
    bandwidth: float
    #: device memory, bytes
    memory: float | None = None
    #: last-level cache, bytes
    l2: float | None = None
    #: streaming multiprocessors (compute units on AMD, cores on a CPU)
    sms: int | None = None
    #: how it encodes fp8 with three bits of mantissa
    fp8_encoding: Fp8Dtype = "fp8_e4m3"
    #: bandwidth of the link to other devices, B/s in one direction
    link: float | None = None
    #: devices that reach each other over `link`, this one among them
    link_gpus: int | None = None
    #: time of an empty kernel as an event pair sees it, seconds
    launch_floor: float | None = None
    #: device names exactly as the driver gives them
    match: tuple[str, ...] = ()
    #: where the numbers come from
    source: str
    #: true where the numbers were computed from what the driver says, not read off a data sheet
    derived: bool = False
    driver: DriverFacts | None = None

    def rate(self, unit: Unit) -> float:
        """Peak FLOP/s of `unit`. Raises Mistake, naming device and unit, where the device has none."""
        if unit not in self.peak:
            raise Mistake(f"{self.name} ({self.title}) has no {unit} peak; its sheet has {', '.join(self.peak)}")
        return self.peak[unit]

    def ridge(self, unit: Unit) -> float:
        """Ridge point of `unit` in FLOP per byte: below it memory binds, above it compute."""
        return self.rate(unit) / self.bandwidth
