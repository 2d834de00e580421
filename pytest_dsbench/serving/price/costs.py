"""Costs: many kernels of layers as columns of numbers, and what each of them takes on a device. Seconds, bytes, FLOP.

A kernel that was not measured takes the longer of its bytes and its FLOP, each over the share of the peak that is assumed for
its category, and the time of its launches. A kernel that was measured takes its bound over its efficiency; its launch is in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...hardware import Hardware
from ...operator import CATEGORIES
from ...record import Record
from ...units import UNITS
from ..layer import Op
from .assumed import Assumed

Array = NDArray[np.float64]


class Column(Record):
    """Some kernels, a number each in every field; what a kernel is has no part in it."""

    bytes: Any
    #: [units, kernels]
    flop: Any
    rows: Any
    launches: Any
    scores: Any
    key_share: Any
    #: number of its category in CATEGORIES, -1 for a word of the user's own
    category: Any


def column(ops: Sequence[Op]) -> Column:
    """The column of some kernels."""
    works = [op.work() for op in ops]
    flop = np.zeros((len(UNITS), len(ops)))
    for number, work in enumerate(works):
        for unit, count in work.flop.items():
            flop[_UNIT[unit], number] = count
    return Column(
        bytes=np.array([work.bytes for work in works], dtype=float),
        flop=flop,
        rows=np.array([op.rows for op in ops], dtype=float),
        launches=np.array([op.launches for op in ops], dtype=float),
        scores=np.array([op.scores for op in ops], dtype=float),
        key_share=np.array([op.key_share for op in ops], dtype=float),
        category=np.array([_CATEGORY.get(op.operator.category, -1) for op in ops]),
    )


_UNIT = {unit: number for number, unit in enumerate(UNITS)}
_CATEGORY = {name: number for number, name in enumerate(CATEGORIES)}


class Times(Record):
    """What each kernel of a column takes on one device, seconds. Infinite where the device lacks the unit."""

    #: max(FLOP / peak, bytes / bandwidth)
    t_sol: Any
    #: FLOP / peak and bytes / bandwidth of it
    compute: Any
    memory: Any
    #: with efficiency, and with its launches
    seconds: Any


def times(column: Column, hardware: Hardware, assumed: Assumed, measured: Array) -> Times:
    """`measured`: the efficiency of each kernel, NaN where it was not measured."""
    peaks = np.array([rate(hardware, unit) for unit in UNITS])
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.where(column.flop > 0, column.flop / peaks[:, None], 0.0)
        compute = units.sum(axis=0)
        memory = column.bytes / hardware.bandwidth
        tile = assumed.number("tile.rows")
        whole = np.where(column.rows > 0, np.ceil(column.rows / tile) * tile / column.rows, 1.0)
    reached = _reached(assumed)
    used = _pipelined(column, compute * whole, hardware, assumed)
    seconds = np.maximum(used / reached["compute"][column.category], memory / reached["memory"][column.category])
    seconds = seconds + column.launches * assumed.number("time.launch")
    t_sol = np.maximum(compute, memory)
    seconds = np.where(np.isnan(measured), seconds, t_sol / measured)
    return Times(t_sol=t_sol, compute=compute, memory=memory, seconds=seconds)


def rate(hardware: Hardware, unit: str) -> float:
    """Peak FLOP/s of a unit; 0 where the device has none. Where there is no fp8, int8 stands in for it, as on an A100."""
    peaks: Mapping[Any, float] = hardware.peak
    return peaks.get(unit) or (peaks.get("int8", 0.0) if unit == "fp8" else 0.0)


def _reached(assumed: Assumed) -> dict[str, Array]:
    """Efficiencies by number of the category; the last is that of any other."""
    names = (*CATEGORIES, "other")
    return {
        "memory": np.array([assumed.efficiency(name, "memory") for name in names]),
        "compute": np.array([assumed.efficiency(name, "compute") for name in names]),
    }


def _pipelined(column: Column, compute: Array, hardware: Hardware, assumed: Assumed) -> Array:
    """Seconds of the units of attention, where the softmax has units of its own; of other kernels `compute`.

    With g0 and g1 the two products and v the exponentials and sums of the softmax: none g0 + g1 + v, two-stage g0 + max(g1, v),
    three-stage max(g0 + g1, v).
    """
    facts = hardware.driver
    if facts is None or not hardware.sms or not column.scores.any():
        return compute
    v = 2 * column.scores / (hardware.sms * assumed.number("exp.per_clock") * facts.boost)
    g0, g1 = compute * column.key_share, compute * (1 - column.key_share)
    pipeline = assumed.pipeline(facts.capability)
    if pipeline == "three-stage":
        together = np.maximum(g0 + g1, v)
    elif pipeline == "two-stage":
        together = g0 + np.maximum(g1, v)
    else:
        together = g0 + g1 + v
    return np.where(column.scores > 0, together, compute)
