"""One pytest session: options, jobs, and the rig; between pytest's hooks and what does the work."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import pytest

from .hardware import named
from .hardware.device import has_gpu
from .jobs import Idle, Job, Jobs
from .mistake import Mistake
from .operator import Operator
from .options import Options, parse_budget, parse_plan
from .plan import plan
from .plan import sheet as plan_sheet
from .report.bounds import plan_lines
from .shapes import Broken

if TYPE_CHECKING:
    from .fixture import Dsbench
    from .rig import Rig
    from .runs import Header


class Session:
    """What a pytest session knows of benches."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.config = config
        self.options = options
        self._jobs: Jobs | None = None
        self._rig: Rig | None = None
        self._header_due = True
        self._marks: dict[str, pytest.MarkDecorator] = {}

    @classmethod
    def of(cls, config: pytest.Config) -> "Session":
        """The session of a pytest configuration. Raises pytest.UsageError for a mistake in an option."""
        try:
            options = _options(config)
            if options.hw not in (None, "cpu"):
                named(options.hw or "")
        except Mistake as error:
            raise pytest.UsageError(str(error)) from None
        return cls(config, options)

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
                found.append(pytest.param(job, id=f"{job.path}:{job.line}"))
            else:
                tags = job.case.tags if isinstance(job, Job) else ()
                found.append(pytest.param(job, id=job.id, marks=[self._mark(tag) for tag in tags]))
        return found

    def _mark(self, tag: str) -> pytest.MarkDecorator:
        if tag not in self._marks:
            self.config.addinivalue_line("markers", f"{tag}: a tag in a shape file")
            self._marks[tag] = getattr(pytest.mark, tag)
        return self._marks[tag]

    def orphans(self, session: pytest.Session) -> list[pytest.Item]:
        """Items for broken shape files that no bench speaks for."""
        items: list[pytest.Item] = []
        for one in self.jobs().orphans() if self._jobs else ():
            item = BrokenShapes.from_parent(session, name=f"{one.path}:{one.line}")
            item.sentence = str(one)
            items.append(item)
        return items

    def ready(self, items: Iterable[pytest.Item]) -> None:
        """Checks what can be checked only now, and finds the device. Raises pytest.UsageError."""
        if self._jobs is None:
            return
        try:
            self._jobs.check_providers()
            if not self.plans and any(hasattr(getattr(item, "function", None), "operator") for item in items):
                self.rig()
        except Mistake as error:
            _refuse(error)

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

        try:
            self.rig()
        except Mistake as error:
            _refuse(error)
        return Dsbench(request.node, benchmark, self.rig, self._header, getattr(request, "param", None))

    def _header(self) -> "Header | None":
        """The header of the run file, once per process."""
        from .runs import Header, timestamp

        if not self._header_due:
            return None
        self._header_due = False
        rig = self.rig()
        absent = tuple(self._jobs.absent.values()) if self._jobs else ()
        return Header(
            started=timestamp(),
            environment=rig.environment,
            hardware=rig.hardware,
            arguments=tuple(sys.argv[1:]),
            absent=absent,
            notes=tuple(rig.notes),
        )

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


def _options(config: pytest.Config) -> Options:
    given = config.getoption
    root = config.rootpath
    shapes = tuple(config.getini("dsbench_shapes")) or ((root / "shapes",) if (root / "shapes").is_dir() else ())
    providers = given("dsbench_provider")
    return Options(
        hw=given("dsbench_hw"),
        plan=parse_plan(given("dsbench_plan")),
        budget=parse_budget(given("dsbench_budget")),
        providers=tuple(name.strip() for name in providers.split(",") if name.strip()) if providers else (),
        clock=given("dsbench_clock"),
        cold=not given("dsbench_hot"),
        timed=given("benchmark_enable", False) or not given("benchmark_disable", False),
        shapes=shapes,
        runs=root / config.getini("dsbench_runs"),
        root=root,
        verbose=config.getoption("verbose") > 0,
    )
