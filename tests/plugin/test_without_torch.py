"""Without torch there are plans and collections; a run says what it lacks."""

import pytest
from project import Project

NO_TORCH = "import sys\n\nsys.modules['torch'] = None\n"


@pytest.fixture
def bare(project: Project) -> Project:
    """A project on a machine without torch."""
    project.file("conftest.py", NO_TORCH)
    project.file("bench_norm.py", 'from pytest_dsbench import bench\n\nbench_norm = bench("rms_norm")\n')
    project.file("shapes/norm.toml", 'operator = "rms_norm"\ncase = [{ tokens = 1, hidden = 8 }]\n')
    return project


def test_a_run_says_what_it_needs(bare: Project) -> None:
    found = bare.spawn()
    found.says("ERROR: running benches needs torch; install pytest-dsbench[torch]")
    assert (found.code, found.counts) == (4, {})


def test_a_plan_for_a_named_gpu_needs_none(bare: Project) -> None:
    found = bare.spawn("--dsbench-hw=h200", "--dsbench-plan")
    found.says("rms_norm (1 case)")
    assert found.code == 0


def test_a_plan_for_this_cpu_says_what_it_needs(bare: Project) -> None:
    found = bare.spawn("--dsbench-plan")
    found.says(
        "ERROR: measuring this CPU's roofline needs torch; install pytest-dsbench[torch] or name a sheet with --dsbench-hw"
    )
    assert found.code == 4


def test_collecting_needs_none(bare: Project) -> None:
    found = bare.spawn("--collect-only", "-q")
    found.plain()
    assert found.code == 0
