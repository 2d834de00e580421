"""A project of a user's own: operators, providers and shape files where the user likes them."""

from project import DOUBLED, Project

NORM = 'from pytest_dsbench import bench\n\nbench_norm = bench("rms_norm")\n'


def test_an_operator_of_a_later_file_than_the_first_bench(project: Project) -> None:
    """The shape files are read when the first bench is met, which is before this operator is defined."""
    project.doubled()
    (project.path / "bench_doubled.py").rename(project.path / "bench_zz.py")
    project.file("bench_aa.py", NORM)
    project.file("shapes/norm.toml", 'operator = "rms_norm"\ncase = [{ tokens = 1, hidden = 8 }]\n')
    project.file("shapes/zz.toml", 'operator = "doubled"\ncase = [{ rows = 16 }, { rows = 32 }]\n')
    found = project.check()
    found.says("shapes/zz.toml:2: duplicate case: doubled at rows16 is already declared at shapes/doubled.toml:3")
    assert (found.code, found.counts) == (1, {"failed": 1, "passed": 5})


def test_an_operator_in_a_conftest(project: Project) -> None:
    project.doubled()
    project.file("conftest.py", DOUBLED.replace("\n\nbench_doubled = bench(Doubled)", ""))
    project.file("bench_doubled.py", 'from pytest_dsbench import bench\n\nbench_doubled = bench("doubled")\n')
    assert project.check().counts == {"passed": 3}


def test_the_shapes_of_the_package_where_there_are_none(project: Project) -> None:
    project.file("bench_norm.py", NORM)
    found = project.run("--collect-only", "-q", "-k", "tokens2500 and hidden1024")
    assert "bench_norm.py::bench_norm[tokens2500-hidden1024-torch]" in found.lines
    assert found.counts["deselected"] > 0


def test_shapes_of_ones_own_hide_those_of_the_package(project: Project) -> None:
    project.file("bench_norm.py", NORM)
    project.file("shapes/norm.toml", 'operator = "rms_norm"\ncase = [{ tokens = 1, hidden = 8 }]\n')
    assert project.check().counts == {"passed": 1}


def test_shapes_in_a_place_of_ones_own(project: Project) -> None:
    project.doubled()
    (project.path / "shapes").rename(project.path / "sizes")
    project.file("extra.toml", 'operator = "doubled"\ncase = [{ rows = 7 }]\n')
    project.file("pytest.ini", "[pytest]\ndsbench_shapes = sizes extra.toml\ndsbench_runs = out/there\n")
    found = project.check()
    assert found.counts == {"passed": 4}
    (path,) = (project.path / "out/there").glob("*.jsonl")
    assert f"results: out/there/{path.name}" in found.lines


def test_an_operator_without_shapes_is_skipped_with_the_reason(project: Project) -> None:
    project.doubled(shapes='operator = "rms_norm"\n')
    found = project.check("-rs")
    assert found.counts == {"skipped": 1}
    assert "no shape file has a case of doubled" in found.text


def test_an_operator_that_nobody_runs_here_is_skipped_with_the_reason(project: Project) -> None:
    project.doubled()
    bench = project.path / "bench_doubled.py"
    bench.write_text(bench.read_text().replace('("cpu", "cuda")', '("cuda",)'))
    found = project.check("-rs")
    assert found.counts == {"skipped": 1}
    assert "no provider of doubled runs here; good: runs on cuda, the device here is the cpu" in found.text
    assert not (project.path / "runs").exists()


def test_a_plan_needs_no_provider_that_runs_here(project: Project) -> None:
    project.doubled()
    bench = project.path / "bench_doubled.py"
    bench.write_text(bench.read_text().replace('("cpu", "cuda")', '("cuda",)'))
    assert "doubled (3 cases)" in project.run("--dsbench-hw=h200", "--dsbench-plan").lines


def test_a_plan_needs_no_provider_at_all(project: Project) -> None:
    project.doubled()
    bench = project.path / "bench_doubled.py"
    bench.write_text(bench.read_text().replace("@Doubled.provider", "# "))
    assert "doubled (3 cases)" in project.run("--dsbench-hw=h200", "--dsbench-plan").lines
