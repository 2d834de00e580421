"""Configuration: one way to serve a model, and which of a grid's it is."""

import numpy as np

from ..hardware import Hardware
from ..record import Record
from .grid import Grid
from .layer import Split
from .model.architecture import Architecture
from .precision import Precision
from .price.nic import Nic
from .schedule import Policy


class Configuration(Record):
    """One way to serve a model. Sequences are for each GPU, `context` is the mean of all of them."""

    model: Architecture
    gpu: Hardware
    nic: Nic | None
    split: Split | None
    tp: int = 1
    precision: Precision
    policy: Policy = "dual"
    mtp: int = 0
    batch: int
    context: int
    decode: bool = True


def at(grid: Grid, number: int) -> Configuration:
    """The configuration of that number of a grid, counted along its axes with the batch the fastest."""
    places = np.unravel_index(number, grid.shape)
    gpu, nic, split, tp, precision, policy, mtp, batch = (
        axis[int(place)] for axis, place in zip(grid.axes.values(), places, strict=True)
    )
    return Configuration(
        model=grid.model,
        gpu=gpu,
        nic=nic,
        split=split,
        tp=tp,
        precision=precision,
        policy=policy,
        mtp=mtp,
        batch=batch,
        context=grid.context,
        decode=grid.decode,
    )
