"""The `dsbench` fixture: measures what a bench asks for, keeps the record, and fails the test where the kernel is wrong."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from . import bridge, handmade
from .handmade import DEFAULT, Handmade
from .jobs import Idle, Job
from .measurement import Measurement, Planned, planned
from .operator import Inputs, New, Provider, Tolerance
from .rig import Rig
from .runner import measure
from .runs import Header
from .shapes import Broken
from .trial import Subject
from .work import Work

#: Names under which a result travels in `item.user_properties`: to junit, and from xdist's workers to the controller.
RECORD = "dsbench"
HEADER = "dsbench_run"


class Dsbench:
    """What a bench is given."""

    def __init__(
        self,
        item: pytest.Item,
        benchmark: BenchmarkFixture,
        rig: Callable[[], Rig],
        header: Callable[[], Header | None],
        job: Any,
    ):
        self._item = item
        self._benchmark = bridge.claim(benchmark)
        self._rig = rig
        self._header = header
        self._job: Job | Idle | Broken | None = job
        #: the record, once there is one
        self.result: Measurement | None = None

    def measure(self) -> None:
        """Measures the case of a shape file that this item stands for."""
        match self._job:
            case Broken():
                pytest.fail(str(self._job), pytrace=False)
            case Idle(reason=reason):
                pytest.skip(reason)
            case Job(case=case, provider=provider):
                self._run(planned(case, provider.name), case.op, provider)
            case None:
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
        own = self._item.name.removeprefix("bench_")
        name, _, label = own.partition("[")
        callspec = getattr(self._item, "callspec", None)
        by_name = tolerance if isinstance(tolerance, dict) else {}
        subject = Handmade(own, inputs, launch, reference, work, by_name, constants=constants)
        if isinstance(tolerance, Tolerance):
            subject.tolerance = dict.fromkeys(subject.outputs(), tolerance)
        path, line, _ = self._item.reportinfo()
        case = Planned(
            operator=name,
            dims={key: value for key, value in callspec.params.items() if isinstance(value, (int, float, str))}
            if callspec
            else {},
            label=label.removesuffix("]"),
            tags=tuple(mark.name for mark in self._item.iter_markers() if mark.name != "parametrize"),
            where=f"{path}:{(line or 0) + 1}",
            provider="own",
        )
        return self._run(case, subject, handmade.provider(subject, inplace))

    def _run(self, case: Planned, subject: Subject, provider: Provider) -> Measurement:
        result, samples = measure(self._rig(), case, subject, provider)
        self.result = result
        header = self._header()
        if header is not None:
            self._item.user_properties.append((HEADER, msgspec.json.encode(header).decode()))
        self._item.user_properties.append((RECORD, msgspec.json.encode(result).decode()))
        if result.status == "skipped":
            pytest.skip(result.reason or "")
        if not result.ok:
            pytest.fail(f"{case.where}: {case.name}: {result.reason}", pytrace=False)
        if samples:
            bridge.feed(self._benchmark, samples, result)
        return result
