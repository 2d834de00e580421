"""The study's search: the largest batch that leaves each user a target rate, and the best of what was found."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ...record import Record
from ...textfile import csv_of
from .constants import Grid, Policy, Study, load
from .rates import Point, Values, rates

#: What of a row stands once in what is found.
Key = tuple[str, str, int, int]


class Row(Record):
    """One configuration that was found, named as in the study's own table."""

    gpu: str
    nic: str
    policy: Policy
    ep: int
    #: Bytes; nothing here depends on it.
    kvcache_elem_bytes: int
    non_expert_elem_bytes: int
    #: Sequences.
    batch_per_gpu: int
    moe_fp8_discounted: bool
    user_tps: float
    tokens_per_s_per_gpu: float
    #: Tokens that MTP proposes in a step.
    mtp_len: int

    @property
    def key(self) -> Key:
        """GPU, NIC, EP and bytes of non-expert elements: of each the best row is kept."""
        return self.gpu, self.nic, self.ep, self.non_expert_elem_bytes


#: The columns of a CSV, in the order of the study's table.
COLUMNS: tuple[str, ...] = Row.__struct_fields__


def search(target_tps: float, grid: Grid | None = None, discounted: bool = False, study: Study | None = None) -> tuple[Row, ...]:
    """What leaves each user `target_tps` tokens/s, the most tokens/s per GPU first; over the study's grid where none is given.

    Everywhere the largest batch that reaches the target; then the best row of each GPU, NIC, EP and non-expert element. Of equal
    rows the one earlier in the grid is kept and stands first: element sizes of the KV cache change no rate, so in the study's own
    grid rows of 2-byte weights have a 2-byte cache.
    """
    study = study or load()
    grid = grid or study.grid
    found = rates(_points(grid, discounted), study)
    reached = np.broadcast_to(found.user >= target_tps, _shape(grid))
    first = reached.argmax(axis=-1)
    rows = [
        _row(grid, (*at, first[tuple(at)]), found.user, found.per_gpu, discounted)
        for at in np.argwhere(reached.any(axis=-1)).tolist()
    ]
    refused = {(one.gpu, one.non_expert) for one in study.refused}
    rows = [row for row in rows if (row.gpu, row.non_expert_elem_bytes) not in refused]
    # Sorting keeps the order of equals, and a dict the first of a key, once it is filled from behind.
    rows.sort(key=lambda row: -row.tokens_per_s_per_gpu)
    best = {row.key: row for row in reversed(rows)}
    return tuple(row for row in rows if best[row.key] is row)


def combinations(grid: Grid | None = None, study: Study | None = None) -> tuple[Key, ...]:
    """All keys of rows that a search over the grid could find at some target rate."""
    study = study or load()
    grid = grid or study.grid
    refused = {(one.gpu, one.non_expert) for one in study.refused}
    sizes = dict.fromkeys(one.non_expert for one in grid.elements)
    return tuple(
        (gpu.name, nic.name, ep, size)
        for gpu in grid.gpus
        for nic in grid.nics
        for ep in grid.ep
        for size in sizes
        if (gpu.name, size) not in refused
    )


def beyond(row: Row, study: Study | None = None) -> bool:
    """Whether the batch is larger than what the study is known to have let this GPU hold, where anything is known about that."""
    known = {(one.gpu, one.ep, one.non_expert): one.batch for one in (study or load()).held}
    largest = known.get((row.gpu, row.ep, row.non_expert_elem_bytes))
    return largest is not None and row.batch_per_gpu > largest


def as_csv(rows: Sequence[Row]) -> str:
    """Rows as CSV with the columns of the study's table; a rate has all its digits."""
    return csv_of(COLUMNS, ([_cell(value) for value in msgspec.structs.astuple(row)] for row in rows))


def _cell(value: object) -> object:
    return str(value).upper() if isinstance(value, bool) else value


def _axes(grid: Grid) -> tuple[Sequence[Any], ...]:
    """The axes of a search: GPU, NIC, policy, EP, element sizes, MTP, and last the batch, from the largest down."""
    return (grid.gpus, grid.nics, grid.policies, grid.ep, grid.elements, grid.mtp, grid.batches)


def _shape(grid: Grid) -> tuple[int, ...]:
    return tuple(map(len, _axes(grid)))


def _points(grid: Grid, discounted: bool) -> Point:
    """The whole grid, each value along its own axis."""

    def along(axis: int, values: Sequence[Any]) -> Values:
        return np.asarray(values).reshape([-1 if axis == other else 1 for other in range(7)])

    gpus = {name: along(0, [getattr(gpu, name) for gpu in grid.gpus]) for name in ("memory", "bf16", "fp8", "exp2", "pipeline")}
    return Point(
        **gpus,
        network=along(1, [nic.bandwidth for nic in grid.nics]),
        policy=along(2, grid.policies),
        ep=along(3, grid.ep),
        element=along(4, [one.non_expert for one in grid.elements]),
        mtp=along(5, grid.mtp),
        batch=along(6, grid.batches),
        discounted=discounted,
    )


def _row(grid: Grid, at: Sequence[int], user: Values, per_gpu: Values, discounted: bool) -> Row:
    gpu, nic, policy, ep, elements, mtp, batch = (axis[index] for axis, index in zip(_axes(grid), at, strict=True))
    return Row(
        gpu=gpu.name,
        nic=nic.name,
        policy=policy,
        ep=ep,
        kvcache_elem_bytes=elements.kv,
        non_expert_elem_bytes=elements.non_expert,
        batch_per_gpu=batch,
        moe_fp8_discounted=discounted,
        user_tps=float(user[tuple(at)]),
        tokens_per_s_per_gpu=float(per_gpu[tuple(at)]),
        mtp_len=mtp,
    )
