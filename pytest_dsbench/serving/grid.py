"""Grid: many configurations at once, as columns of numbers. `evaluate` is the corrected model; a grid may have one point."""

from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import Any

import numpy as np

from ..hardware import Hardware
from ..record import Record
from ..units import matrix_unit
from . import capacity, schedule
from .layer import Split, obstacle
from .model.architecture import Architecture
from .precision import Precision
from .price import links
from .price.assumed import Assumed
from .price.costs import rate
from .price.efficiencies import Efficiencies
from .price.nic import Nic
from .schedule import MICRO, Blocks, Policy
from .tables import Lookup, Size, Tables


class Grid(Record):
    """The axes; every combination is a configuration. Sequences are for each GPU, `context` is the mean of all of them."""

    model: Architecture
    gpus: tuple[Hardware, ...]
    #: NICs between NVLink domains; None for none
    nics: tuple[Nic | None, ...]
    #: GPUs that hold all experts together, and the experts on each; none for a dense model
    splits: tuple[Split | None, ...]
    tps: tuple[int, ...]
    precisions: tuple[Precision, ...]
    policies: tuple[Policy, ...]
    mtps: tuple[int, ...]
    batches: tuple[int, ...]
    context: int
    decode: bool = True

    @property
    def axes(self) -> dict[str, Sequence[Any]]:
        """The axes by the options that give them, in the order of the fields."""
        axes = (self.gpus, self.nics, self.splits, self.tps, self.precisions, self.policies, self.mtps, self.batches)
        return dict(zip(("gpu", "nic", "ep", "tp", "precision", "policy", "mtp", "batch"), axes, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes, in the order of the fields."""
        return tuple(map(len, self.axes.values()))

    @property
    def size(self) -> int:
        """Configurations."""
        return int(np.prod(self.shape))


class Values(Record):
    """Of every configuration of a grid, in its shape."""

    #: seconds of a step: every sequence of a GPU gets its tokens; infinite where the GPU lacks a unit, or its link is too short
    step: Any
    #: new tokens of a sequence in a step, with the guessed ones that are right; in prefill the prompt
    gained: Any
    #: bytes on one GPU
    need: Any
    #: whether all kernels can be, and the GPUs that share heads are linked and divide those that share experts
    valid: Any

    @property
    def user(self) -> Any:
        """Tokens/s of one sequence."""
        return self.gained / self.step


def gained(mtp: int, acceptance: float) -> float:
    """Tokens that a step is expected to add: one, and each guess that is right together with all before it."""
    return 1.0 + sum(acceptance**guess for guess in range(1, mtp + 1))


def busiest(context: int, assumed: Assumed, decode: bool) -> int:
    """Tokens of each sequence of the GPU whose cache is fullest, for which all others wait."""
    return ceil(context * assumed.number("imbalance.context") - 1e-9) if decode else context


def evaluate(grid: Grid, assumed: Assumed, known: Efficiencies | None = None) -> Values:
    """What every configuration takes and needs. Raises Mistake where a link is not on a sheet."""
    values = Values(
        step=np.full(grid.shape, np.inf),
        gained=np.broadcast_to(_gained(grid, assumed), grid.shape),
        need=np.zeros(grid.shape),
        valid=_valid(grid),
    )
    sequences = {ceil(batch / MICRO[policy]) for batch in grid.batches for policy in grid.policies}
    new = {1, *(1 + mtp for mtp in grid.mtps)} if grid.decode else {grid.context}
    sizes = list(product(sorted(sequences), sorted(new)))
    tables = Tables(grid.model, sizes, busiest(grid.context, assumed, grid.decode), grid.decode, assumed, known)
    for (g, gpu), (t, tp), (p, precision) in product(enumerate(grid.gpus), enumerate(grid.tps), enumerate(grid.precisions)):
        if lacking(gpu, precision) is not None or tp > links.domain(gpu):
            continue
        at = _Place(grid, Lookup(tables, gpu, tp, precision), assumed, gpu, tp, precision)
        for (o, policy), (m, mtp) in product(enumerate(grid.policies), enumerate(grid.mtps)):
            values.step[g, :, :, t, p, o, m] = at.step(policy, mtp)
            values.need[g, :, :, t, p, o, m] = at.need(policy, mtp)
    return values


def lacking(gpu: Hardware, precision: Precision) -> str | None:
    """The unit that a precision needs and a GPU has not."""
    # Attention and the head are bf16 whatever the weights are; norms and the softmax are fp32.
    units = (*(matrix_unit(weight) for weight in (precision.dense, precision.experts)), "bf16", "fp32")
    return next((unit for unit in units if not rate(gpu, unit)), None)


def _gained(grid: Grid, assumed: Assumed) -> Any:
    if not grid.decode:
        return float(grid.context)
    acceptance = assumed.number("guess.acceptance")
    return np.array([gained(mtp, acceptance) for mtp in grid.mtps])[:, None]


def _valid(grid: Grid) -> Any:
    """Whether GPUs that share heads are of one NVLink domain and divide those that share experts, and all kernels can be."""
    found = np.ones(grid.shape, dtype=bool)
    for g, gpu in enumerate(grid.gpus):
        for t, tp in enumerate(grid.tps):
            found[g, :, :, t] &= tp <= links.domain(gpu)
    for e, split in enumerate(grid.splits):
        for t, tp in enumerate(grid.tps):
            found[:, :, e, t] &= split is None or split.ep % tp == 0
    for t, tp in enumerate(grid.tps):
        for p, precision in enumerate(grid.precisions):
            found[:, :, :, t, p] &= obstacle(grid.model, tp, precision, grid.decode) is None
    return found


class _Place:
    """One GPU, one way to share heads, one precision; arrays are [NICs, splits, batches] or what spreads to it."""

    def __init__(self, grid: Grid, tables: Lookup, assumed: Assumed, gpu: Hardware, tp: int, precision: Precision) -> None:
        self._grid, self._tables, self._assumed = grid, tables, assumed
        self._gpu, self._tp, self._precision = gpu, tp, precision

    def step(self, policy: Policy, mtp: int) -> Any:
        """Seconds: all layers, the head, the layers that guess ahead, and the host."""
        grid = self._grid
        sequences = self._sequences(policy)
        new = 1 + mtp if grid.decode else grid.context
        seen = self._blocks([(count, new) for count in sequences], guess=False)
        guessed = self._blocks([(count, 1) for count in sequences], guess=True) if mtp else None
        return schedule.step(grid.model, policy, mtp, seen, guessed, self._assumed.number("time.step"))

    def _blocks(self, sizes: list[Size], guess: bool) -> Blocks:
        return self._tables.blocks(sizes, self._grid.splits, self._grid.nics, guess)

    def need(self, policy: Policy, mtp: int) -> Any:
        """Bytes on one GPU."""
        grid = self._grid
        sequences = np.array(self._sequences(policy))
        new = 1 + mtp if grid.decode else grid.context
        return np.array(
            [
                capacity.need(
                    grid.model,
                    tp=self._tp,
                    split=split,
                    precision=self._precision,
                    mtp=mtp,
                    batch=np.array(grid.batches),
                    context=busiest(grid.context, self._assumed, grid.decode),
                    tokens=sequences * new,
                    sampled=sequences * (new if grid.decode else 1),
                ).total
                for split in grid.splits
            ]
        )

    def _sequences(self, policy: Policy) -> list[int]:
        return [ceil(batch / MICRO[policy]) for batch in self._grid.batches]
