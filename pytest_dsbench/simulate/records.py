"""A simulated night as the records of a real run: what the gate is given."""

from datetime import datetime, timedelta
from math import exp, log
from typing import Literal

import numpy as np

from ..anchors import Anchors
from ..environment import Environment
from ..hardware.sheet import Hardware
from ..measurement import Measurement, Planned
from ..roofline import Bound
from ..runs import Header
from ..stats import Estimate, interval
from .noise import Cases, Floats, Model, Night, Rng

#: How long the anchors take on an undisturbed machine, and what launches nothing.
_COPY, _COMPUTE, _LAUNCH = 2e-4, 6e-4, 2e-6
#: T_SOL of every case as a share of its T.
_EFFICIENCY = 0.7
#: Seconds between two cases.
_STEP = 2.0
_PROVIDERS = ("flashinfer", "liger", "torch", "triton")

HARDWARE = Hardware(name="simulated", title="Simulated GPU", peak={"bf16": 1e15}, bandwidth=4e12, source="docs/gate.md")
ENVIRONMENT = Environment(device="cuda", gpu=HARDWARE.title)
_BEGIN = datetime(2026, 1, 1, 3)


def planned(count: int) -> list[Planned]:
    """The cases of a suite: some operators, four providers of each."""
    return [
        Planned(
            operator=f"operator{number // len(_PROVIDERS) % 20}",
            dims={"tokens": number // len(_PROVIDERS)},
            label=f"tokens{number // len(_PROVIDERS)}",
            where="",
            provider=_PROVIDERS[number % len(_PROVIDERS)],
        )
        for number in range(count)
    ]


def header(number: int) -> Header:
    """The first line of the run of this night."""
    started = _BEGIN + timedelta(days=number)
    return Header(started=started.isoformat(), environment=ENVIRONMENT, hardware=HARDWARE)


def anchors(model: Model, machine: tuple[float, float], rng: Rng) -> Anchors:
    """The anchors at one moment: the machine's night moves them as it moves the cases."""
    noise = model.anchor * rng.standard_normal(2)
    return Anchors(
        copy_seconds=_COPY * exp(machine[0] + noise[0]),
        compute_seconds=_COMPUTE * exp(machine[1] + noise[1]),
        launch_seconds=_LAUNCH,
        compute_kind="triton fma",
    )


def measurements(model: Model, suite: Cases, plan: list[Planned], told: Night, slowdown: Floats, rng: Rng) -> list[Measurement]:
    """All launches of a night, one after the other, with the anchors measured every few cases. `slowdown` in ln T."""
    found: list[Measurement] = []
    current = anchors(model, told.machine, rng)
    key = ENVIRONMENT.key()
    bounds = [_bound(suite, case) for case in range(len(plan))]
    times = estimates(told.samples * np.exp(slowdown)[:, None, None])
    for launch in range(model.launches):
        for case, what in enumerate(plan):
            if len(found) % model.anchor_every == 0:
                current = anchors(model, told.machine, rng)
            found.append(
                Measurement(
                    case=what,
                    status="passed",
                    bound=bounds[case],
                    time=times[case][launch],
                    mode="events",
                    cold=True,
                    anchors=current,
                    at=_STEP * len(found),
                    hardware=HARDWARE.name,
                    environment=key,
                )
            )
    return found


def _bound(suite: Cases, case: int) -> Bound:
    kind: Literal["memory", "compute"] = "memory" if suite.memory[case] else "compute"
    return Bound(seconds=_EFFICIENCY * float(suite.seconds[case]), by=kind, regime=kind)


def estimates(samples: Floats) -> list[list[Estimate]]:
    """stats.estimate of every case and launch."""
    n = samples.shape[2]
    first, last = interval(range(n))
    ordered = np.sort(samples, axis=2)
    middles = (ordered[:, :, (n - 1) // 2] + ordered[:, :, n // 2]) / 2
    triples = np.stack([middles, ordered[:, :, int(first)], ordered[:, :, int(last)]], axis=2).tolist()
    return [
        [Estimate(median=middle, low=low, high=high, n=n, stopped_by="samples") for middle, low, high in launches]
        for launches in triples
    ]


def levels(model: Model, samples: Floats, machine: tuple[float, float], memory: bool, rng: Rng) -> tuple[float, ...]:
    """ln of the median time over its anchor, of each fresh process of one case: process, sample."""
    kind = "memory" if memory else "compute"
    return tuple(log(float(np.median(one))) - log(anchors(model, machine, rng).of(kind)) for one in samples)
