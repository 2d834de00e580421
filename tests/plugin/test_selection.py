"""pytest's own ways to choose items work on benches, and collecting costs no torch."""

from project import Outcome, Project


def selected(found: Outcome) -> list[str]:
    """The cases of `-v` or `--collect-only -q`."""
    found.plain()
    ids = [line.split()[0] for line in found.lines if line.startswith("bench_doubled.py::")]
    return [one.removeprefix("bench_doubled.py::bench_doubled[").removesuffix("-good]") for one in ids]


ALL = ["rows16", "rows64", "rows256"]


def test_everything(project: Project) -> None:
    found = project.doubled().check("-v")
    assert selected(found) == ALL
    assert (found.code, found.counts) == (0, {"passed": 3})


def test_by_dimension(project: Project) -> None:
    found = project.doubled().check("-v", "-k", "rows64 or rows256")
    assert selected(found) == ["rows64", "rows256"]
    assert found.counts == {"passed": 2, "deselected": 1}


def test_by_tag_as_a_word(project: Project) -> None:
    assert selected(project.doubled().check("-v", "-k", "small")) == ["rows16"]


def test_by_tag_as_a_mark(project: Project) -> None:
    project.doubled()
    assert selected(project.check("-v", "-m", "small", "--strict-markers")) == ["rows16"]
    assert selected(project.check("-v", "-m", "not small", "--strict-markers")) == ["rows64", "rows256"]


def test_by_node_id(project: Project) -> None:
    found = project.doubled().check("-v", "bench_doubled.py::bench_doubled[rows64-good]")
    assert selected(found) == ["rows64"]
    assert [one.case.dims["rows"] for one in project.records()] == [64]


def test_by_provider(project: Project) -> None:
    more = '@Doubled.provider("other", devices=("cpu",))\ndef other(op, x):\n    return lambda: x + x'
    project.doubled(more)
    assert project.check().counts == {"passed": 6}
    assert project.check("--dsbench-provider=other").counts == {"passed": 3}
    assert project.check("--dsbench-provider=other,good").counts == {"passed": 6}


def test_an_opt_in_provider_has_to_be_named(project: Project) -> None:
    more = '@Doubled.provider("slow", devices=("cpu",), opt_in=True)\ndef slow(op, x):\n    return lambda: x + x'
    project.doubled(more)
    assert project.check().counts == {"passed": 3}
    found = project.check("-v", "--dsbench-provider=slow")
    assert found.counts == {"passed": 3}
    assert "bench_doubled.py::bench_doubled[rows16-slow] PASSED" in found.text


def test_the_last_failed(project: Project) -> None:
    project.doubled(
        '@Doubled.provider("off", devices=("cpu",))\ndef off(op, x):\n    return lambda: x * (3 if op.rows == 64 else 2)'
    )
    project.file("shapes/broken.toml", "operator =\n")
    assert project.check().counts == {"failed": 2, "passed": 5}
    found = project.check("--lf", "-v")
    assert found.counts == {"failed": 2}
    assert "shapes/broken.toml:1 FAILED" in found.text
    assert "bench_doubled.py::bench_doubled[rows64-off] FAILED" in found.text


COUNT_TORCH = """
import sys


def pytest_unconfigure():
    print("torch", "was" if "torch" in sys.modules else "was not", "imported")
"""


def test_collecting_imports_no_torch(project: Project) -> None:
    project.doubled().file("conftest.py", COUNT_TORCH)
    bench = project.path / "bench_doubled.py"
    bench.write_text(bench.read_text().replace("import torch\n", ""))
    project.file("bench_norm.py", 'from pytest_dsbench import bench\n\nbench_norm = bench("rms_norm")\n')
    project.file("shapes/norm.toml", 'operator = "rms_norm"\ncase = [{ tokens = 1, hidden = 8 }]\n')
    found = project.spawn("--collect-only", "-q", "-s")
    assert selected(found) == ALL
    assert "bench_norm.py::bench_norm[tokens1-hidden8-torch]" in found.lines
    assert "torch was not imported" in found.lines
    assert not (project.path / "runs").exists()


def test_a_plan_for_a_named_gpu_imports_no_torch(project: Project) -> None:
    project.file("conftest.py", COUNT_TORCH)
    project.file("bench_norm.py", 'from pytest_dsbench import bench\n\nbench_norm = bench("rms_norm")\n')
    found = project.spawn("-s", "--dsbench-hw=h200", "--dsbench-plan")
    found.plain()
    assert "torch was not imported" in found.lines


def test_a_fixture_of_the_same_name_is_let_alone(project: Project) -> None:
    project.file("conftest.py", "import pytest\n\n@pytest.fixture\ndef dsbench():\n    return 5\n")
    project.file("test_one.py", "def test_one(dsbench):\n    assert dsbench == 5\n")
    assert project.run().counts == {"passed": 1}
    assert not (project.path / "runs").exists()


def test_a_fixture_that_builds_upon_it_is_a_bench(project: Project) -> None:
    project.file("conftest.py", "import pytest\n\n@pytest.fixture\ndef dsbench(dsbench):\n    return dsbench\n")
    project.file("bench_one.py", "import pytest\n\ndef bench_one(dsbench):\n    pytest.skip('today')\n")
    assert project.run().counts == {"skipped": 1}
    assert [(one.case.name, one.status) for one in project.records()] == [("one own", "skipped")]


def test_an_unrelated_run_imports_nothing_of_ours(project: Project) -> None:
    project.file("test_one.py", "def test_one():\n    pass\n")
    loaded = "{name for name in sys.modules if name.startswith('pytest_dsbench.')}"
    allowed = "{'pytest_dsbench.plugin', 'pytest_dsbench.recorder'}"
    project.file(
        "conftest.py",
        f"import sys\n\n\ndef pytest_unconfigure():\n    print('loaded', sorted({loaded} - {allowed}), 'torch' in sys.modules)\n",
    )
    found = project.spawn("-s")
    assert "loaded [] False" in found.lines
    assert found.counts == {"passed": 1}


def test_bench_files_of_others_are_left_alone(project: Project) -> None:
    project.file(
        "bench_sorting.py", "def bench_sorting(benchmark):\n    benchmark(sorted, [2, 1])\n\n\ndef test_it():\n    pass\n"
    )
    project.doubled()
    found = project.check()
    assert found.counts == {"passed": 3}
    assert "bench_sorting" not in found.text


def test_bench_files_that_others_collect_are_collected_as_before(project: Project) -> None:
    project.file("pytest.ini", "[pytest]\npython_files = bench_*.py\n")
    project.file("bench_sorting.py", "def bench_helper(values):\n    return values\n\n\ndef test_it():\n    pass\n")
    found = project.run()
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 1})
