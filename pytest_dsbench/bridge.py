"""Hands our samples to pytest-benchmark, so that its table, its files and `pytest-benchmark compare` work on our runs.

pytest-benchmark times a function itself; it has no public way to take samples that were measured elsewhere. The two private
names used here (`_mode`, `_make_stats`) are all there is, and a test holds them against the installed version.
"""

import msgspec
from pytest_benchmark.fixture import BenchmarkFixture

from .measurement import Measurement


def claim(benchmark: BenchmarkFixture) -> BenchmarkFixture:
    """Marks the fixture as used, so that it does not warn about a case that was skipped."""
    benchmark._mode = "dsbench"
    return benchmark


def feed(benchmark: BenchmarkFixture, samples: list[float], result: Measurement) -> None:
    """Gives one case's samples, in seconds, to pytest-benchmark, with what it cannot know in `extra_info`."""
    benchmark.group = result.case.operator
    benchmark.extra_info.update(extra_info(result))
    if benchmark.disabled:
        return
    stats = benchmark._make_stats(1)  # type: ignore[no-untyped-call]
    for seconds in samples:
        stats.update(seconds)


def extra_info(result: Measurement) -> dict[str, object]:
    """T_SOL, efficiency, device and provider of a result, and what restores its case: `dsbench import` reads it."""
    return {
        "operator": result.case.operator,
        "dims": result.case.dims,
        "label": result.case.label,
        "bench": result.case.bench,
        "work": msgspec.to_builtins(result.work),
        "cold": result.cold,
        "reason": result.reason,
        "provider": result.case.provider,
        "hardware": result.hardware,
        "t_sol_s": result.bound.seconds if result.bound else None,
        "bound_by": result.bound.by if result.bound else None,
        "regime": result.bound.regime if result.bound else None,
        "efficiency": result.efficiency,
        "clock": result.mode,
        "status": result.status,
        "ran": list(result.ran),
        "packages": result.packages,
    }
