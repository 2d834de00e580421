"""Work: what an operator must do at least, whoever does it."""

from .record import Record
from .units import Unit


class Work(Record):
    """Bytes that must cross device memory and FLOP by the unit that does them.

    Each input element needed is read once and each output element is written once; matrix FLOP are billed to the
    matrix unit of the operands, vector FLOP to `fp32`.
    """

    #: bytes read from device memory
    read: int
    #: bytes written to device memory
    written: int
    #: FLOP by unit
    flop: dict[Unit, int] = {}

    @property
    def bytes(self) -> int:
        """All bytes that cross device memory."""
        return self.read + self.written

    @property
    def flops(self) -> int:
        """FLOP of all units together."""
        return sum(self.flop.values())

    @property
    def intensity(self) -> float:
        """Arithmetic intensity, FLOP per byte; 0 where no byte moves."""
        return self.flops / self.bytes if self.bytes else 0.0

    def __add__(self, other: "Work") -> "Work":
        units = self.flop | other.flop
        flop = {unit: self.flop.get(unit, 0) + other.flop.get(unit, 0) for unit in units}
        return Work(read=self.read + other.read, written=self.written + other.written, flop=flop)

    def __mul__(self, times: int) -> "Work":
        flop = {unit: count * times for unit, count in self.flop.items()}
        return Work(read=self.read * times, written=self.written * times, flop=flop)
