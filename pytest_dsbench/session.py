"""One pytest session: options, jobs, and the rig; between pytest's hooks and what does the work."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from . import workers
from .broken import BrokenShapes
from .configuration import options_of
from .faults.runtime import Faults, open_run
from .hardware import named
from .hardware.device import has_gpu
from .jobs import Fuzz, Job, Jobs
from .measurement import Planned
from .mistake import Mistake
from .operator import Operator
from .options import Options
from .selection import coverage, is_bench, operator_of, planned_case, promises
from .shapes import Broken

if TYPE_CHECKING:
    from .fixture import Dsbench
    from .gate.watch import Watch
    from .rig import Rig
    from .runs import Header

#: As in fixture.py, which is loaded with the first bench.
_RECORD = "dsbench"


class Session:
    """What a pytest session knows of benches."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.config = config
        self.options = options
        self._devices = 1 if options.hw == "cpu" else workers.share_out(config)
        self._jobs: Jobs | None = None
        self._rig: Rig | None = None
        self._opening_due = True
        self._head: Header | None = None
        #: node ids of the benches that were selected
        self._planned: tuple[tuple[str, Planned], ...] = ()
        #: operators and benches of which a case was deselected
        self._partial: set[str] = set()
        self._watch: Watch | None = None
        #: what lasts until the session ends, such as the worktree of an old revision
        self.resources = ExitStack()
        self._marks: dict[str, pytest.MarkDecorator] = {}
        self._faults = Faults(config, options.deadline)

    @classmethod
    def of(cls, config: pytest.Config) -> "Session":
        """The session of a pytest configuration. Raises pytest.UsageError for a mistake in an option."""
        try:
            options = options_of(config)
            if options.hw not in (None, "cpu"):
                named(options.hw or "")
            options.check()
            if options.serving and options.gated:
                from .commands.served import served

                for text in options.serving:
                    served(text, "--dsbench-serving")
        except Mistake as error:
            raise pytest.UsageError(str(error)) from None
        return cls(config, options)

    def is_bench(self, item: pytest.Item) -> bool:
        """Whether an item is to be measured here."""
        return not self.plans and is_bench(item)

    @property
    def plans(self) -> bool:
        """Whether this run only prints bounds."""
        return self.options.plan is not None

    def jobs(self) -> Jobs:
        """The jobs of this run; shape files are read when the first bench is met."""
        if self._jobs is None:
            device = "cuda" if has_gpu() and self.options.hw != "cpu" else "cpu"
            self._jobs = Jobs.find(self.options, device)
        return self._jobs

    def params(self, operator: type[Operator]) -> list[Any]:
        """The parameters of one bench, with a pytest mark for each tag."""
        found = []
        for job in self.jobs().of(operator):
            if isinstance(job, Broken):
                name, tags = f"{job.path}:{job.line}", job.tags
            else:
                name, tags = job.id, job.tags if isinstance(job, Job) else ("fuzz",) if isinstance(job, Fuzz) else ()
            found.append(pytest.param(job, id=name, marks=[self._mark(tag) for tag in tags]))
        return found

    def _mark(self, tag: str) -> pytest.MarkDecorator:
        if tag not in self._marks:
            self.config.addinivalue_line("markers", f"{tag}: a tag of a shape file or a model, or a kernel under contract")
            self._marks[tag] = getattr(pytest.mark, tag)
        return self._marks[tag]

    def orphans(self, session: pytest.Session) -> list[pytest.Item]:
        """Items for broken shape files that no bench speaks for."""
        items: list[pytest.Item] = []
        for broken in self.jobs().orphans() if self._jobs else ():
            item = BrokenShapes.of(session, broken)
            for tag in broken.tags:
                item.add_marker(self._mark(tag))
            items.append(item)
        return items

    def ready(self, items: Iterable[pytest.Item], run: bool) -> None:
        """Checks what can be checked only now; for a run it also finds the device. Raises pytest.UsageError."""
        benches = [item for item in items if is_bench(item)]
        try:
            if self._jobs is not None:
                self._jobs.check_providers()
            if benches and run and not self.plans:
                self._planned = tuple((item.nodeid, planned_case(item)) for item in benches if promises(item))
                self._check_workers()
                self.rig()
                self.watch()
        except Mistake as error:
            workers.refuse(self.config, str(error))

    def _check_workers(self) -> None:
        crowded = workers.crowded(self.config, self._devices) if self.options.timed else None
        if crowded:
            raise Mistake(crowded)

    def rig(self) -> "Rig":
        """The rig of this process, made once."""
        if self._rig is None:
            try:
                from .assemble import rig
            except ModuleNotFoundError as error:
                raise Mistake(f"running benches needs {error.name}; install pytest-dsbench[torch]") from None
            self._rig = rig(self.options)
        return self._rig

    def fixture(self, request: pytest.FixtureRequest, benchmark: Any) -> "Dsbench":
        """The `dsbench` of one item."""
        from .fixture import Dsbench

        return Dsbench(request.node, benchmark, self.rig, self.watch, getattr(request, "param", None))

    def watch(self) -> "Watch | None":
        """The gate of this process, made once; None where the run is held against nothing."""
        if self._watch is None and (self.options.gated or (self.options.self_check and self.options.timed)):
            from .gate.confirming import watch

            self._watch = watch(self.options, self.rig(), self._header, self.resources)
        return self._watch

    def deselected(self, items: Iterable[pytest.Item]) -> None:
        """Notes what -k and the like left out."""
        self._partial |= {operator_of(item) for item in items if is_bench(item)}

    @contextmanager
    def guarded(self, item: pytest.Item) -> Iterator[None]:
        """Set-up, call and tear-down of a bench; what it must leave behind is on the disk before it may end the process."""
        # A run of nothing but idle benches leaves nothing behind; held against a baseline, it says what it misses.
        if self._opening_due and (self._planned or self.options.gated):
            self._opening_due = False
            header, plan = (msgspec.json.encode(value).decode() for value in (self._header(), self._planned))
            open_run(item, header, plan)
        with self._faults.guarded(item):
            yield

    def check_device(self, item: pytest.Item) -> None:
        """Before a bench touches anything: fails it where an earlier one left the device unusable."""
        record = self._faults.refusal(item)
        if record is not None:
            item.user_properties.append((_RECORD, msgspec.json.encode(record).decode()))
            pytest.fail(f"not run: {record.reason}", pytrace=False)

    def look(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """After a phase of a bench: is the device still there?"""
        error = call.excinfo.value if call.excinfo is not None else None
        self._faults.look(item, error, self._rig if call.when == "call" else None)

    def _header(self) -> "Header":
        """The header of this run, made once: it says when the run began."""
        if self._head is None:
            self._head = self._new_header()
        return self._head

    def _new_header(self) -> "Header":
        from .runs import Header, timestamp

        rig = self.rig()
        absent = tuple(self._jobs.absent.values()) if self._jobs else ()
        return Header(
            started=timestamp(),
            environment=rig.environment,
            hardware=rig.hardware,
            arguments=tuple(str(word) for word in self.config.invocation_params.args),
            absent=absent,
            notes=tuple(rig.notes),
            coverage=coverage(self.config, self.options, self._partial),
            planned=len(self._planned),
            limits=self.options.limits,
        )

    def check_measured(self, item: pytest.Function) -> None:
        """Fails a bench that asked for `dsbench` and called it not once: it would pass, and nothing would have been measured."""
        from .fixture import Dsbench

        given = item.funcargs.get("dsbench")
        if isinstance(given, Dsbench) and given.result is None:
            pytest.fail(f"{item.name} asks for dsbench and measures nothing; call dsbench(inputs=..., ...)", pytrace=False)

    def show_plan(self, session: pytest.Session) -> bool | None:
        """Prints the plan, if this run is one, and says so."""
        if not self.plans:
            return None
        from .planning import show_plan

        try:
            show_plan(session, self.options)
        except Mistake as error:
            workers.refuse(self.config, str(error))
        return True

    def machine_info(self) -> dict[str, Any]:
        """The device, for pytest-benchmark's files."""
        if self._rig is None:
            return {}
        return {
            "dsbench": {
                "hardware": self._rig.hardware.name,
                "device": self._rig.hardware.title,
                "environment": self._rig.environment.key(),
            }
        }
