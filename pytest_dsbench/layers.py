"""What one layer of a model takes, summed up from the cases of a run, or from their bounds alone."""

from collections.abc import Callable, Iterable
from math import inf

from .hardware.sheet import Hardware
from .measurement import Measurement, read_back, shape_of
from .mistake import Mistake, unknown
from .model import Model, Op, Phase, Point
from .operator import Operator
from .record import Record
from .roofline import bound
from .work import Work


class Row(Record):
    """One op of a layer at one point."""

    op: Op
    operator: Operator
    work: Work
    #: T_SOL, where the device has the units
    t_sol: float | None
    #: seconds of the fastest provider; of a bound T_SOL itself; None where there is no time
    seconds: float | None = None
    provider: str | None = None
    #: whether the calls may have met their data in the cache: the memory roof does not hold then
    warm: bool = False
    #: why there is no time
    gap: str | None = None
    #: times that no device could reach, a sentence each: they count nowhere
    errors: tuple[str, ...] = ()

    @property
    def share_of_peak(self) -> float | None:
        """T_SOL / T: the share of the peak that binds, of arithmetic or of bandwidth; None from a warm cache."""
        return self.t_sol / self.seconds if self.t_sol is not None and self.seconds and not self.warm else None

    @property
    def counted(self) -> bool:
        """Whether it is a part of the sum, and not an alternative to one."""
        return self.op.instead_of is None


class Total(Record):
    """A sum over rows, and the rows that are missing in it."""

    seconds: float
    #: rows with a time, and rows that there are
    measured: int
    rows: int
    #: names of the ops without a time
    missing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


class Layer(Record):
    """The rows of one phase at one point."""

    model: Model
    phase: Phase
    point: Point
    rows: tuple[Row, ...]

    def total(self, kind: str) -> Total:
        """The sum over the ops of one kind of layer."""
        return _sum(row for row in self.rows if row.counted and (not row.op.layers or kind in row.op.layers))

    def all_layers(self) -> Total:
        """The sum over all layers of the model; an op that several kinds have is missing once."""
        kinds = [(self.total(kind), count) for kind, count in self.model.kinds().items() if count]
        counted = [row for row in self.rows if row.counted]
        return Total(
            seconds=sum(total.seconds * count for total, count in kinds),
            measured=sum(row.seconds is not None for row in counted),
            rows=len(counted),
            missing=tuple(row.op.name for row in counted if row.seconds is None),
        )

    def tokens_per_second(self) -> float | None:
        """New tokens per second of all layers; None where an op is missing."""
        total = self.all_layers()
        return self.point.batch * self.point.sequence / total.seconds if total.complete and total.seconds else None


def _sum(rows: Iterable[Row]) -> Total:
    found = list(rows)
    return Total(
        seconds=sum(row.seconds for row in found if row.seconds is not None),
        measured=sum(row.seconds is not None for row in found),
        rows=len(found),
        missing=tuple(row.op.name for row in found if row.seconds is None),
    )


def from_bounds(model: Model, hardware: Hardware) -> list[Layer]:
    """Every phase at every point, with T_SOL on one sheet as the time of each op."""
    return _layers(model, hardware, _bounded)


def from_run(model: Model, found: Iterable[Measurement], hardware: Hardware, provider: str | None = None) -> list[Layer]:
    """Every phase at every point, each op by its fastest provider in a run, or by one alone.

    Only passed cases count, and none that is faster than light; those from a warm cache only where there is no other. Raises
    Mistake where the run has no such provider.
    """
    by_shape: dict[str, list[Measurement]] = {}
    names = set()
    for one in found:
        names.add(one.case.provider)
        if provider in (None, one.case.provider):
            by_shape.setdefault(one.case.shape, []).append(one)
    if provider is not None and provider not in names:
        raise Mistake(f"--provider: {unknown('provider of this run', provider, names)}")

    def timed(row: Row) -> Row:
        return _measured(row, by_shape.get(shape_of(row.operator.name, read_back(row.operator)), []))

    return _layers(model, hardware, timed)


def _layers(model: Model, hardware: Hardware, timed: Callable[[Row], Row]) -> list[Layer]:
    return [
        Layer(
            model=model,
            phase=phase,
            point=point,
            rows=tuple(timed(_row(model, op, point, hardware)) for op in model.ops(phase)),
        )
        for phase in model.phase
        for point in model.points(phase)
    ]


def _row(model: Model, op: Op, point: Point, hardware: Hardware) -> Row:
    operator = model.build(op, point, hardware.fp8_encoding)
    work = operator.work()
    try:
        return Row(op=op, operator=operator, work=work, t_sol=bound(work, hardware).seconds)
    except Mistake as error:
        return Row(op=op, operator=operator, work=work, t_sol=None, gap=str(error))


def _bounded(row: Row) -> Row:
    return row.replace(seconds=row.t_sol)


def _measured(row: Row, found: list[Measurement]) -> Row:
    """The row with the fastest time that counts, or with the reason why there is none."""
    if not found:
        return row.replace(gap="not in the run")
    errors = tuple(sentence for sentence in map(_impossible, found) if sentence)
    passed = [one for one in found if one.status == "passed" and one.time is not None and _impossible(one) is None]
    if not passed:
        return row.replace(gap="; ".join(_why(one) for one in found), errors=errors)
    best = min(passed, key=lambda one: (one.cold is False, _seconds(one)))
    return row.replace(
        # Its own bound: a CPU's roof may have been raised since the run began.
        t_sol=best.bound.seconds if best.bound is not None else row.t_sol,
        seconds=_seconds(best),
        provider=best.case.provider,
        warm=best.cold is False,
        gap=None,
        errors=errors,
    )


def _seconds(one: Measurement) -> float:
    return one.time.median if one.time is not None else inf


def _impossible(one: Measurement) -> str | None:
    """One sentence where a time beats the speed of light: something is wrong with the kernel, the clock or the work."""
    if one.efficiency is None or one.cold is False or one.status not in ("passed", "invalid"):
        return None
    if one.efficiency <= 1 and one.status != "invalid":
        return None
    return f"{one.case.name}: {one.efficiency:.1%} of peak, which no device reaches; the time counts nowhere"


def _why(one: Measurement) -> str:
    """Why the time of a case does not count."""
    if _impossible(one):
        return f"{one.case.provider}: faster than light"
    return f"{one.case.provider}: {one.status}{f', {one.reason}' if one.reason else ''}"
