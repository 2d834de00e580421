"""How a worker samples: a slice each time the conductor asks for one."""

from collections.abc import Callable
from statistics import median

from ..clock import Batch, Clock, Plan, Samples, StopRule
from ..provider import Provider
from ..runner import Timed
from .digest import digest
from .link import Link
from .orders import Done, Next, Ready, Slice

#: A slice on a GPU is busy for this many seconds; on a CPU it is one batch, which lasts 20 ms.
_BUSY = 0.050


class Slices:
    """Collects samples for a clock, as `clock.collect` does, at the conductor's word."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._plan: Timed | None = None

    def __call__(self, draw: Callable[[], Batch], rule: StopRule, mode: str) -> Samples:  # noqa: ARG002
        """Says that the case is ready, then draws slices until it is told that there are enough."""
        self._link.send(self._ready(mode))
        got = Samples(mode=mode)
        while True:
            match self._link.receive():
                case Next():
                    self._link.send(_slice(draw, got))
                case Done():
                    break
                case _:
                    raise SystemExit
        if got.batches == 0:
            # The runner judges a time; a case that was prepared in vain has to have one.
            _slice(draw, got)
        got.stopped_by = "conductor"
        return got

    def of(self, clock: Clock) -> Clock:
        """The clock, with a look at what it is about to time."""
        return _Seen(clock, self)

    def look(self, plan: Plan) -> None:
        """The plan that is timed next."""
        assert isinstance(plan, Timed)
        self._plan = plan

    def _ready(self, mode: str) -> Ready:
        plan = self._plan
        assert plan is not None
        self._plan = None
        names = plan.golden[0]
        return Ready(
            mode=mode,
            inputs=digest(content.inputs for content in plan.contents),
            outputs={name: digest({name: outputs[name]} for outputs in plan.golden.values()) for name in names},
            packages=packages(plan.provider),
        )


class _Seen:
    def __init__(self, clock: Clock, slices: Slices) -> None:
        self._clock = clock
        self._slices = slices

    def time(self, plan: Plan) -> Samples:
        """As the clock does."""
        self._slices.look(plan)
        return self._clock.time(plan)


def packages(provider: Provider) -> dict[str, str]:
    """The packages that a provider needs; where it names none, torch, which every kernel has beside it."""
    import torch

    return provider.packages() or {"torch": str(torch.__version__)}


def _slice(draw: Callable[[], Batch], got: Samples) -> Slice:
    """Draws one slice and adds it to `got`: the shortest sample of 20 ms on a CPU, the median of 50 ms on a GPU."""
    least = 0.0 if got.mode == "cpu" else _BUSY
    kept: list[float] = []
    dropped: list[float] = []
    busy, why = 0.0, None
    while not kept + dropped or busy < least:
        batch = draw()
        busy += batch.busy
        (kept if batch.discard is None else dropped).extend(batch.seconds)
        why = batch.discard or why
        got.batches += 1
    got.seconds += kept
    got.rejected += dropped
    return Slice(seconds=median(kept or dropped), discard=None if kept else why)
