"""Result: one record of a run, with what follows from it and from the data sheet it was held against."""

from typing import Literal

from ..contracts import of
from ..environment import Environment
from ..hardware.sheet import Hardware
from ..measurement import Measurement, Planned
from ..operators import everything
from ..record import Record
from ..units import Unit

#: What a report says of a case in one word: whether it is right, is wrong, or says nothing.
Standing = Literal["passing", "failing", "not timed"]
_PASSING = ("passed", "checked", "noisy_host", "throttled")


class Result(Record):
    """One case in one run, in seconds, bytes, FLOP and those per second."""

    measurement: Measurement
    #: the kernel under contract that ran, or else the operator
    kernel: str
    category: str
    #: key of the device, name of the run, and when that began: UTC, ISO 8601
    device: str
    run: str
    started: str
    hardware: Hardware
    environment: Environment

    @property
    def case(self) -> Planned:
        """What was planned."""
        return self.measurement.case

    @property
    def standing(self) -> Standing:
        """Whether the case is right: what was skipped says nothing."""
        if not self.measurement.ok:
            return "failing"
        return "passing" if self.measurement.status in _PASSING else "not timed"

    @property
    def seconds(self) -> float | None:
        """Median time of one call."""
        return self.measurement.time.median if self.measurement.time else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95 % interval; None where there was one sample, or where a foreign table gives none."""
        time = self.measurement.time
        return (time.low, time.high) if time and time.n > 1 else None

    @property
    def t_sol(self) -> float | None:
        """T_SOL."""
        return self.measurement.bound.seconds if self.measurement.bound else None

    @property
    def regime(self) -> str | None:
        """What binds T_SOL: memory, compute or launch."""
        return self.measurement.bound.regime if self.measurement.bound else None

    @property
    def efficiency(self) -> float | None:
        """T_SOL / T as the run has it, whatever it is worth; see `counts`."""
        return self.measurement.efficiency

    @property
    def counts(self) -> bool:
        """Whether its efficiency may be compared: passed, and not from a warm cache, where the memory roof does not hold."""
        one = self.measurement
        return one.status == "passed" and one.efficiency is not None and one.cold is not False

    @property
    def floor_bound(self) -> bool:
        """Whether its time is that of launches."""
        return self.measurement.floor_bound

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity, FLOP per byte; 0 where nothing is computed."""
        return self.measurement.work.intensity if self.measurement.work else None

    @property
    def flop_rate(self) -> float | None:
        """FLOP per second."""
        work = self.measurement.work
        return work.flops / self.seconds if work and self.seconds else None

    @property
    def byte_rate(self) -> float | None:
        """Bytes per second that had to cross device memory."""
        work = self.measurement.work
        return work.bytes / self.seconds if work and self.seconds else None

    @property
    def unit(self) -> Unit | None:
        """The arithmetic unit that its FLOP take longest on; None where nothing is computed."""
        times = self._unit_seconds()
        return max(times.items(), key=lambda pair: pair[1])[0] if times else None

    @property
    def share_of_compute(self) -> float | None:
        """The share of the peak arithmetic, over all units; None where the device lacks one of them."""
        times = self._unit_seconds()
        if not self.seconds or times is None:
            return None
        return sum(times.values()) / self.seconds

    @property
    def share_of_bandwidth(self) -> float | None:
        """The share of the memory bandwidth; above 1 where the data was in the cache."""
        return self.byte_rate / self.hardware.bandwidth if self.byte_rate is not None else None

    @property
    def dtype(self) -> str | None:
        """Its dimension `dtype`, or else the unit that multiplies its operands."""
        given = self.case.dims.get("dtype")
        return given if isinstance(given, str) else self.unit

    @property
    def versions(self) -> str:
        """The packages that ran, such as "triton 3.6.0, torch 2.11"."""
        return ", ".join(f"{name} {version}" for name, version in sorted(self.measurement.packages.items()))

    def _unit_seconds(self) -> dict[Unit, float] | None:
        """The seconds that each unit needs at its peak."""
        work, peak = self.measurement.work, self.hardware.peak
        if work is None or not all(unit in peak for unit in work.flop):
            return None
        return {unit: count / peak[unit] for unit, count in work.flop.items() if count}


def category_of(case: Planned) -> str:
    """The category that the run has; of an older run that of the operator today, where it is known here."""
    known = everything()
    return case.category or (known[case.operator].category if case.operator in known else "other")


def kernel_of(case: Planned) -> str:
    """The kernel under contract that a provider calls, or else the operator."""
    return next((one.kernel for one in of(case.operator, case.provider)), case.operator)
