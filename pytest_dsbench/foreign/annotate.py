"""A found row held against its data sheet: a case with its work, its bound and its efficiency."""

from collections.abc import Mapping
from functools import cache

from ..case import Case
from ..dims import describe
from ..hardware.sheet import Hardware
from ..light import binding, floor_bound, too_fast
from ..measurement import Measurement, Planned, planned
from ..operator import Operator
from ..operators import everything, find
from ..roofline import bound
from ..shapes import bundled, load
from ..units import Fp8Dtype
from ..work import Work
from .found import IMPORTED, Found

#: What is said of every imported time.
NOTE = "imported: not checked against a reference here"
#: What else makes an imported time too short.
_OR = "or a column, its unit or the GPU is not what it was taken for"


@cache
def known_cases(fp8: Fp8Dtype) -> Mapping[Operator, Case]:
    """The package's own cases, read once: an imported time of one of them bears its label, tags and importance.

    `fp8`: the encoding of the device.
    """
    return {case.op: case for case in load(bundled(), fp8=fp8).cases}


def annotated(found: Found, hardware: Hardware, known: Mapping[Operator, Case], environment: str) -> Measurement:
    """The record of one row; `environment` is the key of its run.

    A time that is faster than light is invalid, as one of ours would be. Raises Mistake where the dimensions make no case, or
    where the sheet lacks a unit that it needs.
    """
    case, work = _case(found, hardware, known)
    limit = found.bound or bound(work, hardware)
    record = Measurement(
        case=case,
        status=found.status,
        reason=found.reason,
        notes=(NOTE, *found.notes),
        packages=found.packages,
        work=work,
        bound=limit,
        cold=found.cold,
        mode=IMPORTED,
        at=found.at,
        hardware=hardware.name,
        environment=environment,
    )
    if found.time is None:
        return record
    seconds = found.time.median
    launches = floor_bound(seconds, hardware)
    record = record.replace(
        time=found.time,
        efficiency=limit.seconds / seconds if limit.seconds else None,
        notes=(*record.notes, launches) if launches else record.notes,
    )
    # Of a measured roof, as that of a CPU is, what binds from a warm cache is known only to the run.
    binds = limit if found.bound and found.cold is not False else bound(binding(work, found.cold is not False), hardware)
    impossible = too_fast(seconds, binds) if found.status == "passed" else None
    return record.replace(status="invalid", reason=f"{impossible}; {_OR}") if impossible else record


def _case(found: Found, hardware: Hardware, known: Mapping[Operator, Case]) -> tuple[Planned, Work]:
    cls = everything().get(found.operator)
    if found.work is not None and cls is None:
        # A bench by hand is no operator of ours; it stated its work itself.
        by_hand = Planned(
            operator=found.operator,
            dims=found.dims,
            label=found.label or "",
            where=found.where,
            provider=found.provider,
            bench=found.bench,
            category="other",
        )
        return by_hand, found.work
    cls, dims = cls or find(found.operator), found.dims
    if "fp8" in cls.__struct_fields__:
        dims = {"fp8": hardware.fp8_encoding, **dims}
    op = cls.build(dims)
    path, _, line = found.where.rpartition(":")
    fresh = Case(op=op, label=found.label or describe(op), path=path, line=int(line))
    return planned(known.get(op, fresh), found.provider, found.bench).replace(where=found.where), op.work()
