"""To do: what would be gained by bringing a kernel to the speed of light, or to the best provider that was measured."""

from collections.abc import Iterator
from typing import Literal

from ...record import Record
from ..configuration import Configuration
from ..estimate import Estimate, estimate
from ..layer import Op
from ..price.assumed import Assumed
from .changes import Changes
from .kernels import Kernel, Rates, kernels, ops, rates, share_hidden, slower


class Best(Record):
    """A provider that is faster than the one that the layer runs, at the same shape."""

    provider: str
    #: the one that the layer runs
    instead_of: str
    #: seconds of one kernel
    seconds: float
    #: difference to what is reached now
    rates: Rates


class Gain(Record):
    """What one kernel is good for; differences to what is reached now."""

    kernel: Kernel
    #: with the kernel at T_SOL, its launches gone too
    rates: Rates
    #: the share of what it becomes faster that other work hides
    hidden: float
    best: Best | None

    @property
    def most(self) -> float:
        """Tokens/s of one GPU."""
        return max(self.rates.per_gpu, self.best.rates.per_gpu if self.best is not None else 0.0)


class Other(Record):
    """What is no kernel, all of it at its limit: messages at the rate of the link and without latency; no launches."""

    what: Literal["rdma", "nvlink", "launches"]
    rates: Rates


class Todo(Record):
    """The kernels of a configuration, those that are worth most first."""

    configuration: Configuration
    now: Rates
    gains: tuple[Gain, ...]
    others: tuple[Other, ...]
    #: share of the step that rests on measured times
    measured: float
    #: whether the times are those that were measured; else they are all assumed
    own: bool


def todo(given: Configuration, assumed: Assumed, changes: Changes | None = None, own: bool = False) -> Todo:
    """`changes`: what was measured; `own`: on the GPU of the configuration, so that its times hold there too."""
    return _Gains(given, assumed, changes, own).todo()


class _Gains:
    """Estimates of one configuration with something faster than it is."""

    def __init__(self, given: Configuration, assumed: Assumed, changes: Changes | None, own: bool) -> None:
        self._given, self._assumed, self._changes, self._own = given, assumed, changes, own
        self._known = changes.efficiencies(given.gpu, "now") if changes is not None and own else None
        self._now = estimate(given, assumed, self._known)

    def todo(self) -> Todo:
        """All of it."""
        found, as_layers_have_it = kernels(self._now), ops(self._now)
        gains = [self._gain(kernel, as_layers_have_it[operator]) for operator, kernel in found.items()]
        return Todo(
            configuration=self._given,
            now=rates(self._now),
            gains=tuple(sorted(gains, key=lambda one: (-one.most, -one.kernel.together))),
            others=tuple(self._others()),
            measured=self._now.share("measured", "interpolated"),
            own=self._own,
        )

    def _gain(self, kernel: Kernel, op: Op) -> Gain:
        # A time that beats the speed of light is no gain the other way round.
        ratio = min(kernel.t_sol / kernel.seconds, 1.0)
        alone = self._with(kernel, ratio)
        hidden = share_hidden(alone.step, kernel.together * (ratio - 1))
        return Gain(kernel=kernel, rates=alone, hidden=hidden, best=self._best(kernel, op))

    def _with(self, kernel: Kernel, ratio: float) -> Rates:
        return self._less(estimate(self._given, self._assumed, self._known, slower({kernel.operator: ratio})))

    def _less(self, found: Estimate) -> Rates:
        return rates(found).less(rates(self._now))

    def _best(self, kernel: Kernel, op: Op) -> Best | None:
        if self._changes is None:
            return None
        mine, best = self._changes.chosen(op), self._changes.fastest(op)
        if mine is None or best is None or mine.now is None or best.now is None:
            return None
        ratio = best.now / mine.now
        return Best(
            provider=best.case.provider,
            instead_of=mine.case.provider,
            seconds=kernel.seconds * ratio,
            rates=self._with(kernel, ratio),
        )

    def _others(self) -> Iterator[Other]:
        """What the model's own assumptions say where they are at their limit."""
        values, nic = self._assumed.values, self._given.nic
        links = {term.by for section in self._now.sections for term in section.terms if term.op is None}
        free: dict[Literal["rdma", "nvlink", "launches"], dict[str, float]] = {
            "rdma": {"link.rdma": 1.0, "link.rdma_latency": 0.0},
            "nvlink": {"link.nvlink": 1.0, "link.nvlink_latency": 0.0},
            "launches": {"time.launch": 0.0},
        }
        for what, changed in free.items():
            if what == "launches" or what in links:
                given = self._given
                if what == "rdma" and nic is not None:
                    given = given.replace(nic=nic.replace(latency=0.0))
                assumed = self._assumed.replace(values={**values, **changed})
                yield Other(what=what, rates=self._less(estimate(given, assumed, self._known)))
