"""Model: the sequence of operators of one layer, at dimensions that follow from batch, sequence and context by formulas."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from . import formula
from .dims import built
from .mistake import Mistake
from .operator import Operator
from .record import Record
from .units import Fp8Dtype


class Point(Record):
    """What a phase is measured at."""

    #: sequences that are served together
    batch: int
    #: new tokens of each sequence: 1 in decode
    sequence: int
    #: keys that each sequence sees, its new tokens among them
    context: int

    def __str__(self) -> str:
        return f"B={self.batch} S={self.sequence} context {self.context}"


class Phase(Record):
    """One way in which the model runs, and the points it is looked at."""

    name: str
    batch: tuple[int, ...]
    sequence: tuple[int, ...]
    #: integers, or formulas such as `= sequence`
    context: tuple[int | str, ...]
    #: points whose tables are shown by default; all where not given
    shown: tuple[Point, ...] = ()


class Op(Record):
    """One operator in the sequence of a layer."""

    #: as the model's code calls it, such as "q_b_proj"; a part of a group has a dot, such as "experts.gate_up"
    name: str
    operator: str
    #: what kind of work it is, such as "gemm"
    category: str
    #: of the operator: values, or formulas over the names of the model
    dims: dict[str, Any]
    #: phases that have it; empty for all
    phases: tuple[str, ...] = ()
    #: kinds of layers that have it; empty for all
    layers: tuple[str, ...] = ()
    #: op, or group of ops, that this one could do instead: it is shown beside the sum and not in it
    instead_of: str | None = None
    note: str | None = None

    @property
    def tag(self) -> str:
        """Its name as a pytest mark."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.name)


class Model(Record):
    """A model as far as its kernels go."""

    #: name of the file, and the tag of its cases
    model: str
    title: str
    source: str
    #: what the formulas may use: integers, and other values that are passed on as they are
    constants: dict[str, int | float | str | bool]
    #: formulas over the constants, over batch, sequence and context, and over those above
    derived: dict[str, str] = {}
    #: number of layers by kind, such as dense = 3, moe = 58: integers or formulas over the constants
    layers: dict[str, int | str]
    phase: tuple[Phase, ...]
    op: tuple[Op, ...]
    #: what a real layer does beside these ops, in words; no time of it is in any total
    omitted: tuple[str, ...] = ()

    def points(self, phase: Phase) -> Iterator[Point]:
        """Every point of a phase: batch, then sequence, then context."""
        for batch, sequence, context in product(phase.batch, phase.sequence, phase.context):
            if isinstance(context, str):
                scope = {**self.constants, "batch": batch, "sequence": sequence}
                yield Point(batch=batch, sequence=sequence, context=_integer(context, scope))
            else:
                yield Point(batch=batch, sequence=sequence, context=context)

    def kinds(self) -> dict[str, int]:
        """Number of layers by kind."""
        return {kind: _integer(count, self.constants) for kind, count in self.layers.items()}

    def ops(self, phase: Phase) -> tuple[Op, ...]:
        """The ops of a phase, in sequence."""
        return tuple(one for one in self.op if phase in self.phases_of(one))

    def phases_of(self, op: Op) -> tuple[Phase, ...]:
        """The phases that have an op."""
        return tuple(one for one in self.phase if not op.phases or one.name in op.phases)

    def build(self, op: Op, point: Point, fp8: Fp8Dtype = "fp8_e4m3") -> Operator:
        """The operator of `op` at a point. Raises Mistake for a formula or a dimension that is wrong."""
        try:
            return self._build(op, point, fp8)
        except Mistake as error:
            raise Mistake(f"op {op.name!r}: {error}") from None

    def _build(self, op: Op, point: Point, fp8: Fp8Dtype) -> Operator:
        scope: dict[str, Any] = {**self.constants, "batch": point.batch, "sequence": point.sequence, "context": point.context}
        for name, text in self.derived.items():
            scope[name] = formula.evaluate(text, scope)
        return built(op.operator, op.dims, scope, fp8)


def _integer(given: int | str, scope: Mapping[str, object]) -> int:
    value = formula.evaluate(given, scope) if isinstance(given, str) else given
    if not isinstance(value, int) or value < 0:
        raise Mistake(f"{given!r} is {value!r}; expected an integer of at least 0")
    return value
