"""From pytest's configuration, the command line and the ini file, to our options."""

from pathlib import Path

import pytest

from .mistake import Mistake
from .options import (
    Options,
    parse_budget,
    parse_compare,
    parse_deadline,
    parse_fuzz,
    parse_plan,
    parse_report,
    parse_save,
    parse_share,
)
from .shapes import bundled
from .thresholds import thresholds


def _shapes(path: Path) -> tuple[Path, ...]:
    """A path of the ini file; the word `bundled` stands for the shapes and models of the package."""
    return bundled() if path.name == "bundled" and not path.exists() else (path,)


def options_of(config: pytest.Config) -> Options:
    """The options of a pytest configuration. Raises Mistake for what cannot be read."""
    given = config.getoption
    root = config.rootpath
    shapes = tuple(one for path in config.getini("dsbench_shapes") for one in _shapes(path))
    shapes = shapes or tuple(root / name for name in ("shapes", "models") if (root / name).is_dir())
    providers, report = given("dsbench_provider"), parse_report(given("dsbench_report"))
    # Whoever looks into a case with a debugger takes his time.
    debugged = given("usepdb", False) or given("trace", False)
    deadline = parse_deadline(given("dsbench_deadline"))
    if given("dsbench_serving") and given("dsbench_compare") is None and given("dsbench_save") is None:
        raise Mistake("--dsbench-serving tells what it costs that --dsbench-compare finds; give that too")
    return Options(
        hw=given("dsbench_hw"),
        plan=parse_plan(given("dsbench_plan")),
        budget=parse_budget(given("dsbench_budget")),
        deadline=None if debugged else deadline,
        providers=tuple(name.strip() for name in providers.split(",") if name.strip()) if providers else (),
        fuzz=parse_fuzz(given("dsbench_fuzz")),
        clock=given("dsbench_clock"),
        cold=not given("dsbench_hot"),
        timed=given("benchmark_enable", False) or not given("benchmark_disable", False),
        shapes=shapes,
        runs=root / config.getini("dsbench_runs"),
        baselines=root / config.getini("dsbench_baselines"),
        compare=parse_compare(given("dsbench_compare")),
        save=parse_save(given("dsbench_save")),
        old=given("dsbench_old"),
        serving=tuple(given("dsbench_serving") or config.getini("dsbench_serving")),
        self_check=parse_share(given("dsbench_self_check"), "--dsbench-self-check"),
        summary=config.invocation_params.dir / given("dsbench_summary") if given("dsbench_summary") else None,
        report=config.invocation_params.dir / report if report else None,
        limits=thresholds(config.getini("dsbench_gate")),
        root=root,
        verbose=config.getoption("verbose") > 0,
    )
