"""A mistake in an option: one sentence and exit code 4, before anything runs."""

import pytest
from project import Outcome, Project

from pytest_dsbench import providers
from pytest_dsbench.hardware import sheets
from pytest_dsbench.hardware.device import cpu
from pytest_dsbench.operators import everything

#: Everything a sheet needs; `{peak}` is what tests spoil.
SHEET = """
bandwidth = "1 TB/s"
source = "made up"

{peak}
"""


def refused(found: Outcome, sentence: str) -> None:
    """It said this and ran nothing."""
    found.says(f"ERROR: {sentence}")
    assert (found.code, found.counts) == (4, {})


def test_unknown_provider(project: Project) -> None:
    providers.load()
    names = {provider for operator in everything().values() for provider in operator.providers}
    known = ", ".join(sorted({*names, "good"}))
    found = project.doubled().run("--dsbench-provider=torch,trition")
    refused(found, f"--dsbench-provider: unknown provider 'trition'; did you mean 'triton'? known: {known}")


def test_unknown_provider_while_collecting(project: Project) -> None:
    found = project.doubled().run("--dsbench-provider=goood", "--collect-only")
    found.plain()
    assert found.code == 4
    assert "ERROR: --dsbench-provider: unknown provider 'goood'; did you mean 'good'? known: " in found.text


def test_unknown_gpu(project: Project) -> None:
    known = ", ".join(sorted(sheets()))
    found = project.run("--dsbench-hw=h201")
    refused(found, f"unknown GPU 'h201'; did you mean 'h200'? known: {known}, or the path of a .toml sheet")


def test_a_gpu_that_is_not_here(project: Project) -> None:
    found = project.doubled().run("--dsbench-hw=gb200")
    refused(
        found,
        f"--dsbench-hw=gb200 asks for NVIDIA GB200, but this machine has no GPU, its device is the CPU {cpu()};"
        " to see bounds without the device use --dsbench-plan",
    )
    assert not (project.path / "runs").exists()


def test_a_gpu_that_is_not_here_for_a_bench_by_hand(project: Project) -> None:
    project.file("bench_own.py", "def bench_own(dsbench):\n    raise AssertionError\n")
    found = project.run("--dsbench-hw=gb200")
    found.plain()
    assert (found.code, found.counts) == (4, {})
    assert "ERROR: --dsbench-hw=gb200 asks for NVIDIA GB200, but this machine has no GPU" in found.text


def test_a_way_to_time_a_gpu_on_a_cpu(project: Project) -> None:
    found = project.doubled().run("--dsbench-clock=graph")
    refused(found, "--dsbench-clock=graph is a way to time a GPU; the device here is the CPU, which has one clock")


@pytest.mark.parametrize(
    ("peak", "sentence"),
    [
        ("[peak]\nbf16 = null", "5: not TOML: Invalid value"),
        ('[peak]\nbf16 = "-989 TFLOP/s"', "5: bf16 is '-989 TFLOP/s'; expected a finite number above zero"),
        ('[peak]\nbf16 = "0 TFLOP/s"', "5: bf16 is '0 TFLOP/s'; expected a finite number above zero"),
        ("[peak]\nbf16 = 989", "5: bf16 is 989; expected a number and its unit in FLOP/s, in quotes"),
        (
            '[peak]\nbf17 = "989 TFLOP/s"',
            "5: unknown unit 'bf17'; did you mean 'bf16'? known: bf16, fp16, fp32, fp4, fp64, fp8, int8, tf32",
        ),
        ("", "1: peak is missing; a sheet needs bandwidth, source, peak"),
        ("[peak]", "4: [peak] is empty; expected at least one of fp64, fp32, tf32, fp16, bf16, fp8, fp4, int8"),
    ],
    ids=["null", "negative", "zero", "no unit", "unknown unit", "no peaks", "empty peaks"],
)
def test_a_sheet_with_a_mistake(project: Project, peak: str, sentence: str) -> None:
    project.doubled().file("mine.toml", SHEET.replace("{peak}", peak))
    refused(project.run("--dsbench-hw=mine.toml", "--dsbench-plan"), f"mine.toml:{sentence}")


def test_a_sheet_that_is_not_there(project: Project) -> None:
    found = project.run("--dsbench-hw=mine.toml", "--dsbench-plan")
    refused(found, "cannot read the data sheet mine.toml: No such file or directory")


@pytest.mark.parametrize("swallowed", ["benches/", "benches", "benches/bench_norm.py", "bench_norm.py::bench_norm"])
def test_a_plan_that_swallowed_the_path(project: Project, swallowed: str) -> None:
    (project.path / "benches").mkdir()
    found = project.run("--dsbench-plan", swallowed)
    refused(
        found,
        f"--dsbench-plan={swallowed} would write the plan to {swallowed}; write --dsbench-plan=FILE, or put --dsbench-plan last",
    )


def test_a_plan_that_cannot_be_written(project: Project) -> None:
    found = project.doubled().run("--dsbench-hw=h200", "--dsbench-plan=no/where.jsonl")
    found.says("ERROR: --dsbench-plan=no/where.jsonl: cannot write the plan: No such file or directory")
    assert found.code == 4


def test_results_that_cannot_be_written(project: Project) -> None:
    project.doubled().file("runs", "a file, not a folder")
    found = project.check()
    found.says(f"ERROR: dsbench_runs: cannot write results to {project.path / 'runs'}: File exists")
    assert found.code == 4


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ("1 parsec", "'1 parsec' is not a budget; expected a time, a size or both, such as '0.5s,2GiB', or 'none'"),
        ("0.5", "'0.5' is not a budget; expected a time, a size or both, such as '0.5s,2GiB', or 'none'"),
        ("-1s", "'-1s' is not a budget; expected more than zero"),
        ("1s,0GiB", "'0GiB' is not a budget; expected more than zero"),
    ],
)
def test_a_bad_budget(project: Project, budget: str, sentence: str) -> None:
    refused(project.run(f"--dsbench-budget={budget}"), f"--dsbench-budget: {sentence}")


@pytest.mark.parametrize(
    ("deadline", "sentence"),
    [
        ("soon", "'soon' is not a time; expected one such as '60s', '10min' or '2h', or 'off'"),
        ("60", "'60' is not a time; expected one such as '60s', '10min' or '2h', or 'off'"),
        ("-1s", "'-1s' is not a time; expected one such as '60s', '10min' or '2h', or 'off'"),
        ("0s", "'0s' is not a time that a case could take; expected more than zero, or 'off'"),
    ],
)
def test_a_bad_deadline(project: Project, deadline: str, sentence: str) -> None:
    refused(project.run(f"--dsbench-deadline={deadline}"), f"--dsbench-deadline: {sentence}")


def test_a_unit_the_device_lacks(project: Project) -> None:
    project.file("bench_mm.py", 'from pytest_dsbench import bench\n\nbench_mm = bench("block_scaled_mm")\n')
    project.file("shapes/mm.toml", 'operator = "block_scaled_mm"\ncase = [{ m = 8, n = 128, k = 128 }]\n')
    found = project.run("--dsbench-hw=a100", "--dsbench-plan")
    found.plain()
    assert found.code == 0
    (line,) = [line for line in found.lines if line.startswith("no bound: ")]
    assert line.startswith("no bound: a100 (NVIDIA A100") and " has no fp8 peak; its sheet has " in line
    (row,) = [line for line in found.lines if line.startswith("m8-n128-k128 ")]
    assert row.endswith("no bound")
