"""pytest hooks. Each is a few lines around something that works without pytest; heavy imports wait for a bench to be there."""

from __future__ import annotations

import sys
from collections.abc import Generator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .fixture import Dsbench
    from .session import Session

_SESSION: pytest.StashKey[Session] = pytest.StashKey()
_BENCH_FILES = "bench_*.py"
_OPTIONS = (
    "hw",
    "plan",
    "budget",
    "deadline",
    "provider",
    "fuzz",
    "clock",
    "hot",
    "compare",
    "save",
    "old",
    "serving",
    "self_check",
    "summary",
    "report",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, one group; thresholds and places are ini values."""
    group = parser.getgroup("dsbench", "dsbench: kernels against the speed of light")
    group.addoption(
        "--dsbench-hw", metavar="NAME", help="data sheet to hold times against: a name, a .toml, or cpu (default: detect)"
    )
    group.addoption(
        "--dsbench-plan",
        nargs="?",
        const="",
        metavar="FILE",
        help="time nothing; print every case's bytes, FLOP and T_SOL (and write FILE)",
    )
    group.addoption("--dsbench-budget", metavar="TIME,SIZE", help="skip cases over this T_SOL or memory (CPU default: 0.1s,1GiB)")
    group.addoption(
        "--dsbench-deadline",
        metavar="TIME",
        help="kill a case that takes longer, and its process with it: 60s, 10min, off (default: 10min; off with --pdb)",
    )
    group.addoption(
        "--dsbench-provider", metavar="NAMES", help="comma-separated providers to run (default: all that are not opt-in)"
    )
    group.addoption(
        "--dsbench-fuzz",
        metavar="N[,SEED]",
        help="also check every provider at N drawn shapes of its operator",
    )
    group.addoption(
        "--dsbench-clock", choices=("auto", "events", "graph"), default="auto", help="how a GPU is timed (default: auto)"
    )
    group.addoption(
        "--dsbench-hot", action="store_true", help="do not flush the GPU's cache; the memory roofline does not apply then"
    )
    group.addoption(
        "--dsbench-compare",
        nargs="?",
        const="",
        metavar="WHAT",
        help="fail on regressions against the stored baseline, or against a run, a baseline or a git revision",
    )
    group.addoption(
        "--dsbench-save",
        nargs="?",
        const="",
        metavar="REASON",
        help="take this run into the stored baseline; what lowers the bar needs a reason",
    )
    group.addoption(
        "--dsbench-old",
        metavar="PYTHON|REF",
        help="confirm suspects in a duet with the providers of this interpreter or git revision",
    )
    group.addoption(
        "--dsbench-serving",
        action="append",
        metavar="MODEL[,KEY=VALUE...]",
        help="with --dsbench-compare: tell what the changes cost in tokens/s, such as deepseek_v3,gpu=h800,ep=144,batch=88",
    )
    group.addoption(
        "--dsbench-self-check",
        metavar="SHARE",
        help="duel this share of the cases against themselves and print how often that alarms, such as 5%%",
    )
    group.addoption("--dsbench-summary", metavar="FILE", help="write the summary to FILE as markdown")
    group.addoption("--dsbench-report", metavar="DIR", help="write tables, pictures and a web page of the run to DIR")
    parser.addini(
        "dsbench_shapes",
        "shape and model files, or folders; bundled: the package's (default: shapes/ and models/ in the root, else bundled)",
        type="paths",
    )
    parser.addini("dsbench_runs", "folder of run files (default: runs/ in the root folder)", default="runs")
    parser.addini("dsbench_baselines", "folder of baselines (default: baselines/ in the root folder)", default="baselines")
    parser.addini("dsbench_serving", "what --dsbench-serving takes, a line each", type="linelist")
    parser.addini("dsbench_gate", "thresholds of the gate, such as min_change = 0.02; see docs/gate.md", type="linelist")


def pytest_configure(config: pytest.Config) -> None:
    """Bench files count as test files; options of ours that were given are checked at once."""
    if _BENCH_FILES not in config.getini("python_files"):
        config.addinivalue_line("python_files", _BENCH_FILES)
        config.stash[_ADDED] = True
    if config.getoption("dsbench_plan") is not None and hasattr(config.option, "tx"):
        # A plan measures nothing, and is made by the process that collects: pytest-xdist has no part in it.
        config.option.dist, config.option.tx = "no", []
    given = [
        config.getini("dsbench_gate"),
        config.getini("dsbench_serving"),
        *(config.getoption(f"dsbench_{name}") for name in _OPTIONS),
    ]
    if any(value not in (None, False, "auto", []) for value in given):
        session_of(config)
    if not hasattr(config, "workerinput"):
        from .recorder import Recorder

        slots = None
        if getattr(config.option, "tx", None):
            from .workers import Slots

            slots = Slots()
            config.pluginmanager.register(slots, "dsbench-slots")
        recorder = Recorder(config, lambda: session_of(config).options, lambda: slots.notes if slots else None)
        config.pluginmanager.register(recorder, "dsbench-recorder")
    if not config.pluginmanager.hasplugin("benchmark"):
        config.pluginmanager.register(NoBenchmark(), "dsbench-no-benchmark")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Lets go of what the session held."""
    if _SESSION in config.stash:
        config.stash[_SESSION].resources.close()
    if "pytest_dsbench.faults.runtime" in sys.modules:
        sys.modules["pytest_dsbench.faults.runtime"].dismiss(config)


_ADDED: pytest.StashKey[bool] = pytest.StashKey()


class NoBenchmark:
    """Stands in where pytest-benchmark is switched off: `-p no:benchmark`."""

    @pytest.fixture
    def benchmark(self) -> None:
        """Nobody to hand samples to."""


def session_of(config: pytest.Config) -> Session:
    """What this pytest session knows of benches; made when the first one is met."""
    if _SESSION not in config.stash:
        from .session import Session

        config.stash[_SESSION] = Session.of(config)
    return config.stash[_SESSION]


def _is_bench_file(path: Path) -> bool:
    return fnmatch(path.name, _BENCH_FILES) and path.is_file() and b"dsbench" in path.read_bytes()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files called bench_*.py that have nothing to do with dsbench stay as they were: not collected."""
    if config.stash.get(_ADDED, False) and fnmatch(collection_path.name, _BENCH_FILES) and collection_path.is_file():
        return None if _is_bench_file(collection_path) else True
    return None


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Bench files are modules whose `bench_*` functions are tests."""
    return BenchModule.from_parent(parent, path=module_path) if _is_bench_file(module_path) else None


class BenchModule(pytest.Module):
    """A module whose functions called `bench_*` are collected."""

    def funcnamefilter(self, name: str) -> bool:
        """Whether a name is a bench or a test."""
        return name.startswith("bench_") or super().funcnamefilter(name)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **kwargs: Any) -> Any:
        """A mistake in a bench file is one sentence at its line, without a traceback."""
        from .mistake import Mistake

        if not isinstance(excinfo.value, Mistake):
            return super().repr_failure(excinfo, *args, **kwargs)
        lines = [entry.lineno + 1 for entry in excinfo.traceback if str(entry.path) == str(self.path)]
        return f"{self.nodeid}:{lines[-1] if lines else 1}: {excinfo.value}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """bench(Operator) becomes an item per case and provider."""
    operator = getattr(metafunc.function, "operator", None)
    if operator is not None and "dsbench" in metafunc.fixturenames:
        metafunc.parametrize("dsbench", session_of(metafunc.config).params(operator), indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shape files that no bench will speak for fail as items of their own."""
    if _SESSION in config.stash:
        items += config.stash[_SESSION].orphans(session)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Of operators that lost a case to -k and the like it cannot be said what is missing."""
    if items and _SESSION in items[0].config.stash:
        items[0].config.stash[_SESSION].deselected(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The device is looked for once, when there is something to run."""
    if _SESSION in session.config.stash or any("dsbench" in getattr(item, "fixturenames", ()) for item in session.items):
        session_of(session.config).ready(session.items, run=not session.config.option.collectonly)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """--dsbench-plan prints instead of running."""
    if _SESSION in session.config.stash and not session.config.option.collectonly:
        return session.config.stash[_SESSION].show_plan(session)
    return None


def _is_bench(item: pytest.Item) -> bool:
    # Only where there is a session of ours is anything of it loaded.
    return _SESSION in item.config.stash and item.config.stash[_SESSION].is_bench(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A bench that hangs or ends the process is told of by the guard."""
    if not _is_bench(item):
        return (yield)
    with item.config.stash[_SESSION].guarded(item):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where one bench left the device unusable, no other begins."""
    if _is_bench(item):
        item.config.stash[_SESSION].check_device(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Before a bench is reported it is seen whether it left the device unusable."""
    if _is_bench(item):
        item.config.stash[_SESSION].look(item, call)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A bench that measured nothing has not passed."""
    result = yield
    if _SESSION in pyfuncitem.config.stash:
        pyfuncitem.config.stash[_SESSION].check_measured(pyfuncitem)
    return result


@pytest.fixture
def dsbench(request: pytest.FixtureRequest, benchmark: Any) -> Dsbench:
    """Measures a kernel: its inputs, launch, reference and work; see pytest_dsbench.fixture.Dsbench."""
    return session_of(request.config).fixture(request, benchmark)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """pytest-benchmark's files name the device."""
    if "pytest_dsbench.session" in sys.modules and _SESSION in config.stash:
        machine_info.update(config.stash[_SESSION].machine_info())
