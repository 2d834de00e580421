"""The `dsbench` fixture: measures what a bench asks for, keeps the record, and fails the test where the kernel is wrong."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from . import bridge, fuzz, handmade
from .faults.runtime import paused
from .gate.watch import Watch
from .handmade import DEFAULT, Handmade
from .jobs import Fuzz, Idle, Job
from .measurement import Measurement, Planned, planned
from .operator import Inputs, New, Tolerance
from .provider import Provider
from .report.gate import failure
from .rig import Rig
from .runner import measure
from .selection import bench_of, by_hand, place_of
from .shapes import Broken
from .trial import Subject
from .work import Work

#: Names under which a result travels in `item.user_properties`: to junit, and from xdist's workers to the controller.
RECORD = "dsbench"
#: What was measured to confirm a suspicion.
CONFIRMATION = "dsbench_confirmation"


class Dsbench:
    """What a bench is given."""

    def __init__(
        self,
        item: pytest.Item,
        benchmark: BenchmarkFixture | None,
        rig: Callable[[], Rig],
        watch: Callable[[], Watch | None],
        job: Any,
    ):
        self._item = item
        self._benchmark = bridge.claim(benchmark) if benchmark is not None else None
        self._rig = rig
        self._watch = watch
        self._job: Job | Fuzz | Idle | Broken | None = job
        #: the record, once there is one
        self.result: Measurement | None = None
        self._calls = 0

    def measure(self) -> None:
        """Measures the case of a shape file that this item stands for."""
        match self._job:
            case Broken():
                pytest.fail(str(self._job), pytrace=False)
            case Idle(reason=reason):
                pytest.skip(reason)
            case Fuzz(operator=operator, provider=provider, draws=draws):
                self._keep(fuzz.measure(self._rig(), operator, provider, draws, place_of(self._item)))
            case Job(case=case, provider=Provider() as provider):
                self._run(planned(case, provider.name, bench_of(self._item)), case.op, provider)
            case _:
                pytest.fail(
                    "dsbench.measure() is for benches made by bench(Operator); a bench by hand calls dsbench(...)", pytrace=False
                )

    def __call__(
        self,
        *,
        inputs: Callable[[New], Inputs],
        launch: Callable[..., Any],
        reference: Callable[..., Any],
        work: Work,
        tolerance: dict[str, Tolerance] | Tolerance = DEFAULT,
        inplace: tuple[str, ...] = (),
        constants: tuple[str, ...] = (),
    ) -> Measurement:
        """Measures a bench written by hand.

        `inputs(new)` makes the tensors by name; `launch(**inputs)` is timed and returns the outputs; `reference(**inputs)`
        returns the right ones; `work` is what must be moved and computed at least. `inplace` names inputs that the launch
        overwrites, `constants` those it may prepare once. One Tolerance holds for all outputs; a dict names them in order.
        """
        self._calls += 1
        again = f"#{self._calls}" if self._calls > 1 else ""
        subject = Handmade(self._item.nodeid + again, inputs, launch, reference, work, tolerance, constants=constants)
        case = by_hand(self._item, again)
        return self._run(case, subject, handmade.provider(inplace))

    def _run(self, case: Planned, subject: Subject, provider: Provider) -> Measurement:
        watch = self._watch()
        result, samples = measure(self._rig(), case, subject, provider, watch.mode(case) if watch else None)
        if samples and self._benchmark is not None:
            bridge.feed(self._benchmark, samples, result)
        self._keep(result)
        if watch is not None:
            self._gate(watch, result)
        return result

    def _gate(self, watch: Watch, result: Measurement) -> None:
        """Holds the result against the baseline; the test fails where it got slower."""
        with paused(self._item.config):
            verdict, confirmations = watch.see(result)
        self._item.user_properties += [(CONFIRMATION, msgspec.json.encode(one).decode()) for one in confirmations]
        if verdict is not None and watch.fails(verdict):
            pytest.fail(failure(verdict, watch.source), pytrace=False)

    def _keep(self, result: Measurement) -> None:
        """Sends the record on its way, and fails or skips the item where it has to."""
        self.result = result
        record = msgspec.json.encode(result).decode()
        self._item.user_properties.append((RECORD, record))
        if result.status == "skipped":
            pytest.skip(result.reason or "")
        if not result.ok:
            pytest.fail(f"{result.case.where}: {result.case.name}: {result.reason}", pytrace=False)
