"""Search: of many configurations those that are fast enough for a user, the most tokens/s per GPU first; and the Pareto front."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ...record import Record
from ..configuration import Configuration, at
from ..grid import Grid, Values, evaluate, lacking
from ..price.assumed import Assumed
from ..price.costs import Array
from ..price.efficiencies import Efficiencies


class Floor(Record):
    """What a configuration must give each user: tokens/s ("tps"), or at most so many seconds per token or to the first one."""

    of: Literal["tps", "tpot", "ttft"]
    #: tokens/s or seconds
    value: float

    def met(self, step: Any, gained: Any) -> Any:
        """Whether a step of so many seconds that adds so many tokens gives it; numbers or arrays."""
        if self.of == "tps":
            return gained / step >= self.value
        return (step / gained if self.of == "tpot" else step) <= self.value

    def user(self, gained: float) -> float:
        """The tokens/s of a user that just meet it, where a step adds so many."""
        return self.value if self.of == "tps" else (1.0 if self.of == "tpot" else gained) / self.value


class Tally(Record):
    """Of one GPU how many configurations there are, and of how many it is the first thing in the way."""

    gpu: str
    configurations: int
    #: the GPU lacks a unit of the precision
    unit: int
    #: GPUs that share heads are more than a link joins, or do not divide those that share experts
    tp: int
    #: weights, cache and activations do not fit
    memory: int
    #: it is too slow for a user
    floor: int

    @property
    def left(self) -> int:
        """Configurations with nothing in the way."""
        return self.configurations - self.unit - self.tp - self.memory - self.floor


class Row(Record):
    """One configuration of a search, and what it reaches."""

    configuration: Configuration
    #: tokens/s of one sequence and of one GPU
    user: float
    per_gpu: float
    #: seconds of a step, in prefill the time to the first token; and the tokens that it adds to a sequence
    step: float
    gained: float
    #: bytes on one GPU, and how many may be used; None where the sheet has no memory
    need: float
    usable: float | None

    @property
    def tpot(self) -> float:
        """Seconds per token of one sequence."""
        return self.step / self.gained


class Found(Record):
    """What a search found; configurations are numbers in its grid, which `row` looks up."""

    grid: Grid
    floor: Floor | None
    values: Values
    #: bytes that may be used on each GPU; None where its sheet has no memory
    usable: tuple[float | None, ...]
    #: tokens/s of one GPU, in the shape of the grid
    per_gpu: Any
    #: of each GPU, NIC, EP, TP, precision, policy and MTP the best batch, the most tokens/s per GPU first
    best: Array
    #: the Pareto front of all GPUs and of each alone, the fastest for a user first; whatever the floor
    front: Array
    fronts: dict[str, Array]
    tallies: tuple[Tally, ...]

    def row(self, number: int) -> Row:
        """The configuration of a number."""
        given = at(self.grid, number)
        step = float(self.values.step.flat[number])
        gained = float(np.broadcast_to(self.values.gained, self.grid.shape).flat[number])
        return Row(
            configuration=given,
            user=gained / step,
            per_gpu=float(self.per_gpu.flat[number]),
            step=step,
            gained=gained,
            need=float(self.values.need.flat[number]),
            usable=self.usable[number // (self.grid.size // len(self.grid.gpus))],
        )

    def rows(self, numbers: Sequence[int] | Array) -> list[Row]:
        """Those of some numbers."""
        return [self.row(int(number)) for number in numbers]

    def nearest(self) -> Configuration | None:
        """Where nothing fits: the configuration whose memory is least short. None where none could run at all."""
        could = np.isfinite(self.values.step) & self.values.valid
        short = self.values.need - _spread(self.usable)
        return at(self.grid, int(np.where(could, short, np.inf).argmin())) if could.any() else None


def search(grid: Grid, assumed: Assumed, known: Efficiencies | None = None, floor: Floor | None = None) -> Found:
    """What of a grid meets a floor and fits. Raises Mistake where a link is not on a sheet.

    Of equal batches the smaller one is best; of equal configurations the one earlier in the grid stands first, in `best` and as
    the only one in `front`. A GPU whose sheet has no memory is taken to hold everything.
    """
    values = evaluate(grid, assumed, known)
    per_gpu = values.user * np.array(grid.batches)
    share = assumed.number("memory.usable")
    usable = tuple(None if gpu.memory is None else gpu.memory * share for gpu in grid.gpus)
    exists = np.array([[lacking(gpu, one) is None for one in grid.precisions] for gpu in grid.gpus])
    exists = np.broadcast_to(exists[:, None, None, None, :, None, None, None], grid.shape)
    runs = exists & values.valid
    fits = runs & (values.need <= _spread(usable))
    met = fits if floor is None else fits & floor.met(values.step, values.gained)
    fronts = {gpu.name: _front(number, fits[number], values, per_gpu) for number, gpu in enumerate(grid.gpus)}
    every = np.sort(np.concatenate([*fronts.values()]))
    return Found(
        grid=grid,
        floor=floor,
        values=values,
        usable=usable,
        per_gpu=per_gpu,
        best=_best(met, per_gpu),
        front=every[pareto(values.user.reshape(-1)[every], per_gpu.reshape(-1)[every])],
        fronts=fronts,
        tallies=tuple(_tallies(grid, (exists, runs, fits, met))),
    )


def _spread(usable: Sequence[float | None]) -> Array:
    """Bytes of each GPU along the first axis of a grid."""
    return np.array([np.inf if one is None else one for one in usable]).reshape(-1, *[1] * 7)


def pareto(first: Array, second: Array) -> Any:
    """Places of the pairs that no other beats in one number without losing in the other; the largest `first` first.

    Of equal pairs the earliest stands for all. Sorted once, a running maximum leaves few, which are sorted with care.
    """
    order = np.argsort(-first)
    few = np.sort(order[second[order] >= np.maximum.accumulate(second[order])])
    order = few[np.lexsort((-second[few], -first[few]))]
    largest = np.maximum.accumulate(second[order])
    return order[np.concatenate(([True], second[order][1:] > largest[:-1]))] if order.size else order


def _front(gpu: int, fits: Array, values: Values, per_gpu: Any) -> Any:
    """The front of one GPU, as numbers in the grid."""
    places = np.flatnonzero(fits)
    found = pareto(values.user[gpu].reshape(-1)[places], per_gpu[gpu].reshape(-1)[places])
    return places[found] + gpu * fits.size


def _best(met: Array, per_gpu: Any) -> Any:
    """Of all batches of a configuration the one with the most tokens/s per GPU, as numbers in the grid, the most first."""
    batches = met.shape[-1]
    rates = np.where(met, per_gpu, -np.inf).reshape(-1, batches)
    first = rates.argmax(axis=1)
    found = np.flatnonzero(met.reshape(-1, batches).any(axis=1))
    order = np.argsort(-rates[found, first[found]], kind="stable")
    return (found * batches + first[found])[order]


def _tallies(grid: Grid, stages: Sequence[Any]) -> list[Tally]:
    """`stages`: what has passed each test, GPU by GPU."""
    each = grid.size // len(grid.gpus)
    counts = np.array([[each, *(int(stage[number].sum()) for stage in stages)] for number in range(len(grid.gpus))])
    lost = (counts[:, :-1] - counts[:, 1:]).tolist()
    return [
        Tally(gpu=gpu.name, configurations=each, unit=unit, tp=tp, memory=memory, floor=slow)
        for gpu, (unit, tp, memory, slow) in zip(grid.gpus, lost, strict=True)
    ]
