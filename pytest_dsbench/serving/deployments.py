"""Deployments that were measured by others, and what the corrected model says of them with the values that it assumes."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .. import tables
from ..hardware import named as gpu_named
from ..record import Record
from .configuration import Configuration
from .estimate import estimate
from .grid import Grid, evaluate
from .model.architecture import named as model_named
from .precision import named as precision_named
from .price.assumed import Assumed
from .price.nic import named as nic_named
from .schedule import Policy
from .search.axes import check, split

_FILE = Path(__file__).parent / "deployments.toml"
#: The largest batch that is looked at where a rate of users is asked for.
_MOST = 512


class Ours(Record):
    """A value that the source does not state, and where ours comes from."""

    key: str
    why: str


class Reading(Record):
    """Another batch that the source may mean."""

    batch: int
    why: str


class Deployment(Record):
    """What was measured, and on what."""

    name: str
    title: str
    model: str = "deepseek_v3"
    gpu: str
    nic: str
    ep: int
    policy: Policy
    mtp: int
    weights: str = "fp8"
    cache: str = "bf16"
    #: sequences for each GPU
    batch: int
    #: mean, tokens
    context: int
    #: tokens/s of one GPU
    measured: float
    #: tokens/s that each user gets, where the source states them
    users: tuple[float, ...] = ()
    source: str
    #: what of these values is ours
    assumed: tuple[Ours, ...] = ()
    readings: tuple[Reading, ...] = ()

    def configuration(self, assumed: Assumed) -> Configuration:
        """What the model is asked for."""
        model = model_named(self.model)
        return Configuration(
            model=model,
            gpu=gpu_named(self.gpu),
            nic=nic_named(self.nic),
            split=split(model, self.ep, None, assumed),
            precision=precision_named(self.weights, self.cache),
            policy=self.policy,
            mtp=self.mtp,
            batch=self.batch,
            context=self.context,
        )


class Beside(Record):
    """What the model says at another batch, and why that one."""

    why: str
    batch: int
    #: tokens/s of one GPU, and of one user
    per_gpu: float
    user: float


class Held(Record):
    """A deployment, and what the model says of it."""

    deployment: Deployment
    #: tokens/s of one GPU, and of one user
    per_gpu: float
    user: float
    #: whether the memory is large enough
    fits: bool
    #: at each rate of users that the source states, and at other readings of it
    beside: tuple[Beside, ...]

    @property
    def error(self) -> float:
        """Predicted over measured tokens/s, less one."""
        return self.per_gpu / self.deployment.measured - 1


class Moved(Record):
    """An assumed value moved down and up, and the error of each deployment with it."""

    name: str
    low: str
    high: str
    #: errors at `low` and at `high`, a deployment each
    ends: tuple[tuple[float, ...], tuple[float, ...]]


@cache
def deployments() -> tuple[Deployment, ...]:
    """Those that come with the package."""
    raw = tables.parsed(_FILE.read_text(encoding="utf-8"))
    return tuple(tables.converted(one, Deployment, "key of a deployment") for one in raw["deployment"])


def held(assumed: Assumed) -> tuple[Held, ...]:
    """Every deployment beside what the model says of it."""
    return tuple(_held(one, assumed) for one in deployments())


def _held(one: Deployment, assumed: Assumed) -> Held:
    given = one.configuration(assumed)
    check(given)
    found = estimate(given, assumed)
    return Held(
        deployment=one,
        per_gpu=found.per_gpu,
        user=found.user,
        fits=found.fits,
        beside=(*_readings(one, given, assumed), *_at_users(one, given, assumed)),
    )


def _readings(one: Deployment, given: Configuration, assumed: Assumed) -> Iterator[Beside]:
    for reading in one.readings:
        found = estimate(given.replace(batch=reading.batch), assumed)
        yield Beside(why=reading.why, batch=reading.batch, per_gpu=found.per_gpu, user=found.user)


def _at_users(one: Deployment, given: Configuration, assumed: Assumed) -> Iterator[Beside]:
    """The largest batch that fits and leaves each user a rate; nothing for a rate that none does."""
    if not one.users:
        return
    batches = tuple(range(1, _MOST + 1))
    grid = Grid(
        model=given.model,
        gpus=(given.gpu,),
        nics=(given.nic,),
        splits=(given.split,),
        tps=(given.tp,),
        precisions=(given.precision,),
        policies=(given.policy,),
        mtps=(given.mtp,),
        batches=batches,
        context=given.context,
    )
    values = evaluate(grid, assumed)
    user = values.user.ravel()
    room = values.need.ravel() <= (given.gpu.memory or float("inf")) * assumed.number("memory.usable")
    for rate in one.users:
        fitting = [batch for batch, reached, fits in zip(batches, user >= rate, room, strict=True) if reached and fits]
        if fitting:
            batch = fitting[-1]
            at = float(user[batch - 1])
            why = f"the largest batch that leaves each user {rate:g} tokens/s"
            yield Beside(why=why, batch=batch, per_gpu=batch * at, user=at)


def errors(assumed: Assumed) -> tuple[float, ...]:
    """The error of each deployment."""
    given = [(one, one.configuration(assumed)) for one in deployments()]
    return tuple(estimate(configuration, assumed).per_gpu / one.measured - 1 for one, configuration in given)


def moved(assumed: Assumed, share: float = 0.2) -> Iterator[Moved]:
    """Each assumed number moved by a share of itself in both directions, as far as it may be, and by itself alone."""
    for name, value in assumed.values.items():
        if isinstance(value, float):
            low, high = (_within(name, value * factor) for factor in (1 - share, 1 + share))
            below, above = (errors(assumed.changed_by([f"{name}={text}"])) for text in (low, high))
            yield Moved(name=name, low=low, high=high, ends=(below, above))


def _within(name: str, value: float) -> str:
    """A value as --assume takes it, at the end of its range where it would be beyond."""
    kind = name.split(".")[0]
    if kind == "time" or name.endswith("_latency"):
        return f"{value * 1e6:.6g} us"
    if kind in ("tile", "exp"):
        return f"{max(round(value), 1)}"
    return f"{max(value, 1.0) if kind == 'imbalance' else min(value, 1.0):.6g}"
