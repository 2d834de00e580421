"""Builders of what the gate is given: measurements with chosen times, runs, nights, entries and baselines."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from math import exp
from pathlib import Path
from typing import Any, Literal

from pytest_dsbench.__main__ import main
from pytest_dsbench.anchors import Anchors
from pytest_dsbench.environment import Environment
from pytest_dsbench.gate.accepting import Acceptance, accept
from pytest_dsbench.gate.baseline import Baseline, Entry, Golden, Night
from pytest_dsbench.gate.judge import Gate
from pytest_dsbench.gate.judgement import Judgement, judge_run
from pytest_dsbench.gate.nights import Tonight, tonight
from pytest_dsbench.hardware import Hardware
from pytest_dsbench.measurement import Measurement, Planned, Status
from pytest_dsbench.roofline import Bound
from pytest_dsbench.runs import Coverage, End, Header, Writer
from pytest_dsbench.stats import Estimate
from pytest_dsbench.thresholds import Thresholds
from pytest_dsbench.verdict import Confirmation, Verdict

SHEET = Hardware(name="h200", title="NVIDIA H200", peak={"bf16": 989e12}, bandwidth=4.8e12, source="test")
ENVIRONMENT = Environment(device="cuda", gpu="NVIDIA H200", driver="570.86", torch="2.9.0", commit="0123456789abcdef")
NEW_DRIVER = ENVIRONMENT.replace(driver="580.65")
ANCHORS = Anchors(copy_seconds=1e-4, compute_seconds=6e-4, launch_seconds=2e-6, compute_kind="triton fma")
BENCH = "benches/bench_norm.py::bench_rms_norm"
LIMITS = Thresholds()
#: ln T of a usual window about its middle: it scatters by less than the floor of the scale.
USUAL = (0.0, 0.001, -0.001, 0.002, -0.002)
#: Seconds since 1970 at which the first case of a run is measured.
BEGAN = 1.7e9
#: The last line of a run that went through.
END = End(planned=1, produced=1)

Dsbench = Callable[..., tuple[int, list[str], list[str]]]


def day(number: int) -> str:
    """When the run of this night began."""
    return (datetime(2026, 11, 1, 3) + timedelta(days=number)).isoformat()


def case(tokens: int = 8, provider: str = "triton", operator: str = "rms_norm") -> Planned:
    return Planned(
        operator=operator,
        dims={"tokens": tokens, "hidden": 64, "dtype": "bf16"},
        label=f"tokens{tokens}-hidden64",
        where="shapes/rms_norm.toml:7",
        provider=provider,
        bench=BENCH,
    )


def measured(
    seconds: float | None = 1e-5,
    tokens: int = 8,
    provider: str = "triton",
    status: Status = "passed",
    at: float = BEGAN,
    anchors: Anchors | None = ANCHORS,
    by: Literal["memory", "compute"] = "memory",
    t_sol: float = 8e-6,
    **more: Any,
) -> Measurement:
    """One case that took `seconds`."""
    what = case(tokens, provider, more.pop("operator", "rms_norm"))
    time = seconds and Estimate(median=seconds, low=0.999 * seconds, high=1.001 * seconds, n=60, stopped_by="precise")
    return Measurement(
        **{
            "case": what,
            "status": status,
            "bound": Bound(seconds=t_sol, by=by, regime=by),
            "time": time or None,
            "efficiency": seconds and t_sol / seconds,
            "packages": {"triton": "3.5.0"},
            "mode": "events",
            "cold": True,
            "anchors": anchors,
            "at": at,
            "hardware": SHEET.name,
            "environment": ENVIRONMENT.key(),
            **more,
        }
    )


def header(number: int = 30, environment: Environment = ENVIRONMENT, **more: Any) -> Header:
    return Header(
        **{"started": day(number), "environment": environment, "hardware": SHEET, "coverage": Coverage(paths=("",)), **more}
    )


def in_environment(found: Iterable[Measurement], environment: Environment) -> list[Measurement]:
    """As if they had been measured there."""
    return [one.replace(environment=environment.key()) for one in found]


def run_file(folder: Path, found: Sequence[Measurement], number: int = 30, end: End | None = END, **more: Any) -> Path:
    """The file of a run."""
    writer = Writer(folder, header(number, **more))
    for line in (*found, *([end] if end else [])):
        writer.append(line)
    writer.close()
    return writer.path


def night(number: int = 0, seconds: float = 1e-5, anchors: Anchors = ANCHORS, by: str = "memory", **more: Any) -> Night:
    return Night(
        **{
            "at": day(number),
            "commit": "0123456789ab",
            "passes": (seconds,),
            "low": 0.999 * seconds,
            "high": 1.001 * seconds,
            "anchors": anchors,
            "anchor": anchors.of(by),
            "packages": {"triton": "3.5.0"},
            **more,
        }
    )


def entry(
    levels: Sequence[float] = USUAL,
    seconds: float = 1e-5,
    tokens: int = 8,
    provider: str = "triton",
    golden: float | None = 0.0,
    operator: str = "rms_norm",
    by: str = "memory",
    **more: Any,
) -> Entry:
    """An entry whose nights took `seconds` times exp of each level; the golden level is given likewise."""
    what = case(tokens, provider, operator)
    window = tuple(night(number, seconds * exp(level), by=by) for number, level in enumerate(levels))
    middle = night(seconds=seconds, by=by)
    return Entry(
        **{
            "operator": what.operator,
            "dims": what.dims,
            "label": what.label,
            "provider": what.provider,
            "bench": what.bench,
            "key": ENVIRONMENT.key(),
            "mode": "events",
            "cold": True,
            "t_sol": 8e-6,
            "by": by,
            "window": window,
            "golden": None if golden is None else Golden(at=day(0), level=middle.level + golden, seconds=seconds),
            **more,
        }
    )


def baseline(*entries: Entry, **more: Any) -> Baseline:
    return Baseline(
        **{
            "source": "baselines/h200",
            "hardware": SHEET.name,
            "entries": {one.identity: one for one in entries},
            "environments": {ENVIRONMENT.key(): ENVIRONMENT},
            **more,
        }
    )


def judged(
    against: Baseline,
    found: Sequence[Tonight],
    confirmations: Iterable[Confirmation] = (),
    now: Environment = ENVIRONMENT,
    limits: Thresholds = LIMITS,
) -> Judgement:
    return judge_run(Gate(against, limits, now), found, Coverage(paths=("",)), confirmations)


def one_verdict(against: Baseline, measurement: Measurement, number: int = 30, *confirmations: Confirmation) -> Verdict:
    """The gate's word on one case of one night."""
    (verdict,) = judged(against, tonight([measurement], header(number)), confirmations).verdicts
    return verdict


def accepted(
    against: Baseline,
    found: Sequence[Measurement],
    number: int = 30,
    reason: str | None = None,
    confirmations: Iterable[Confirmation] = (),
    now: Environment = ENVIRONMENT,
    limits: Thresholds = LIMITS,
) -> Acceptance:
    """The baseline after this night."""
    nights = tonight(in_environment(found, now), header(number, now))
    verdicts = {one.case.identity: one for one in judged(against, nights, confirmations, now, limits).verdicts}
    return accept(against, nights, verdicts, now, limits, reason)


def by_duet(change: float, outcome: str, tokens: int = 8) -> Confirmation:
    """What an old provider beside the new one says."""
    return Confirmation(
        case=case(tokens), how="duet", deltas=(change,), change=change, low=change - 0.002, high=change + 0.002, outcome=outcome
    )


def by_rerun(*levels: float, seconds: float = 1e-5, tokens: int = 8) -> Confirmation:
    """What fresh processes say; levels as of `entry`."""
    middle = night(seconds=seconds).level
    return Confirmation(case=case(tokens), how="rerun", levels=tuple(middle + one for one in levels))


def command(capsys: Any) -> Dsbench:
    """Runs `dsbench`: exit code, lines of stdout, lines of stderr."""

    def running(*arguments: object) -> tuple[int, list[str], list[str]]:
        try:
            code = main([str(one) for one in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return running
