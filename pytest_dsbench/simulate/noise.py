"""The noise model: how long a case takes in one launch of one night, and in the fresh processes that confirm a suspicion.

Source of the figures: the project's design, docs/gate.md. Noise is in ln T, so that a share means the same for every case.
"""

from math import log, log1p, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..record import Record

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rng = np.random.Generator


class Model(Record):
    """Sizes of all noises: shares, and seconds where it says so."""

    #: T is log-uniform between these, seconds
    shortest: float = 4e-6
    longest: float = 4e-3
    #: from sample to sample: sqrt(within^2 + (timer / T)^2); `timer` in seconds
    within: float = 0.004
    timer: float = 0.4e-6
    #: of a launch and of a case's night: medians over the cases, and the sd of ln of both
    launch: float = 0.003
    night: float = 0.004
    scatter: float = 0.5
    #: cases whose nights differ far more
    unsteady: float = 0.08
    unsteady_night: float = 0.02
    #: cases that are slower by a step in some of their launches
    bimodal: float = 0.08
    bimodal_step: float = 0.03
    bimodal_chance: float = 0.3
    #: of the machine's night: whole for compute-bound cases, a part of it for memory-bound ones; and nights on which it is slow
    machine: float = 0.007
    memory_part: float = 0.2
    bad: float = 0.05
    bad_step: float = 0.03
    #: samples that take longer, by between `spike_low` and `spike_high`
    spike: float = 0.01
    spike_low: float = 0.1
    spike_high: float = 1.0
    launches: int = 3
    samples: int = 60
    #: of one measurement of an anchor, and how many cases go by between two of them
    anchor: float = 0.0015
    anchor_every: int = 20
    #: of a duet: seconds of a slice, seconds around each sample in it, such as those of flushing the cache: 12 samples at a T of
    #: 4 ms, 480 at 4 us; and adjacent slices of a pair
    slice_seconds: float = 0.05
    around_sample: float = 1e-4
    slices: int = 8


class Cases(NamedTuple):
    """What stays as it is from night to night, case by case."""

    seconds: Floats
    memory: Flags
    #: sd from sample to sample, from launch to launch, from night to night
    within: Floats
    launch: Floats
    night: Floats
    bimodal: Flags


class Night(NamedTuple):
    """One night: what every process of it shares, and the samples of the launches."""

    #: ln of how much longer the machine takes: memory-bound, compute-bound
    machine: tuple[float, float]
    #: ln T of each case without launch and sampling noise
    level: Floats
    #: seconds: case, launch, sample
    samples: Floats


def cases(model: Model, count: int, rng: Rng) -> Cases:
    """A suite of cases."""
    seconds = np.exp(rng.uniform(log(model.shortest), log(model.longest), count))
    night = model.night * np.exp(model.scatter * rng.standard_normal(count))
    return Cases(
        seconds=seconds,
        memory=rng.permutation(count) % 2 == 0,
        within=np.sqrt(model.within**2 + (model.timer / seconds) ** 2),
        launch=model.launch * np.exp(model.scatter * rng.standard_normal(count)),
        night=np.where(rng.random(count) < model.unsteady, model.unsteady_night, night),
        bimodal=rng.random(count) < model.bimodal,
    )


def night(model: Model, suite: Cases, rng: Rng) -> Night:
    """One night of all cases."""
    factor = model.machine * rng.standard_normal() + (log1p(model.bad_step) if rng.random() < model.bad else 0.0)
    machine = (model.memory_part * factor, factor)
    level = np.log(suite.seconds) + np.where(suite.memory, *machine) + suite.night * rng.standard_normal(len(suite.seconds))
    everyone = np.arange(len(suite.seconds))
    return Night(machine=machine, level=level, samples=launched(model, suite, level, everyone, model.launches, rng))


def launched(model: Model, suite: Cases, level: Floats, which: NDArray[np.int_], count: int, rng: Rng) -> Floats:
    """Samples in seconds of `count` fresh processes of some cases: case, process, sample."""
    shape = (len(which), count, model.samples)
    noise = suite.within[which, None, None] * rng.standard_normal(shape)
    spiked = rng.random(shape) < model.spike
    spikes = np.where(spiked, np.log1p(rng.uniform(model.spike_low, model.spike_high, shape)), 0.0)
    centre = level[which, None] + processes(model, suite, which, count, rng)
    found: Floats = np.exp(centre[:, :, None] + noise + spikes)
    return found


def processes(model: Model, suite: Cases, which: NDArray[np.int_], count: int, rng: Rng) -> Floats:
    """What is peculiar to each of `count` processes of some cases, in ln T."""
    shape = (len(which), count)
    slow = suite.bimodal[which, None] & (rng.random(shape) < model.bimodal_chance)
    found: Floats = suite.launch[which, None] * rng.standard_normal(shape) + np.where(slow, log1p(model.bimodal_step), 0.0)
    return found


def deltas(model: Model, suite: Cases, case: int, slowdown: float, pairs: int, rng: Rng) -> Floats:
    """ln(T new / T old) of each pair of a duet. Both processes share the night, so that it does not matter here."""
    one = np.array([case])
    both = processes(model, suite, one, 2 * pairs, rng).reshape(2, pairs)
    # A slice's median; the few spikes move the medians of both sides alike.
    count = max(3.0, model.slice_seconds / (suite.seconds[case] + model.around_sample))
    noise = suite.within[case] * sqrt(np.pi / 2 / count) * rng.standard_normal((2, pairs, model.slices))
    found: Floats = slowdown + both[0] - both[1] + np.median(noise[0] - noise[1], axis=1)
    return found
