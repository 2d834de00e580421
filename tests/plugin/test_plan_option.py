"""--dsbench-plan: the bounds of the selected cases, on any machine."""

import json
from pathlib import Path

from project import Project

from pytest_dsbench import find
from pytest_dsbench.hardware import named
from pytest_dsbench.roofline import bound
from pytest_dsbench.shapes import bundled, load

KEYS = ["operator", "dims", "published_id", "tags", "bytes_read", "bytes_written", "flop", "t_sol_s", "bound_by", "regime"]
BENCHES = Path(__file__).parent.parent.parent / "benches"


def test_every_case_of_the_package_has_a_line_with_the_documented_keys(project: Project) -> None:
    found = project.run(str(BENCHES), f"--rootdir={project.path}", "--dsbench-hw=gb200", "--dsbench-plan=plan.jsonl")
    found.plain()
    assert found.code == 0
    lines = [json.loads(line) for line in (project.path / "plan.jsonl").read_text().splitlines()]
    assert len(lines) == len(load(bundled()).cases) > 440
    assert f"{len(lines)} cases written to plan.jsonl" in found.lines
    assert {tuple(line) for line in lines} == {tuple(KEYS)}
    sheet = named("gb200")
    for line in lines:
        op = find(line["operator"]).build(line["dims"])
        assert (line["bytes_read"], line["bytes_written"], line["flop"]) == (op.work().read, op.work().written, op.work().flop)
        limit = bound(op.work(), sheet)
        assert (line["t_sol_s"], line["bound_by"], line["regime"]) == (limit.seconds, limit.by, limit.regime)
    assert not (project.path / "runs").exists()


def test_a_case_without_a_bound_has_the_same_keys(project: Project) -> None:
    project.file("bench_mm.py", 'from pytest_dsbench import bench\n\nbench_mm = bench("block_scaled_mm")\n')
    project.file(
        "shapes/mm.toml", 'operator = "block_scaled_mm"\ncase = [{ m = 8, n = 128, k = 128, id = 7, tags = ["small"] }]\n'
    )
    assert project.run("--dsbench-hw=a100", "--dsbench-plan=plan.jsonl").code == 0
    (line,) = [json.loads(line) for line in (project.path / "plan.jsonl").read_text().splitlines()]
    assert list(line) == KEYS
    assert (line["published_id"], line["tags"]) == (7, ["small"])
    assert (line["t_sol_s"], line["bound_by"], line["regime"]) == (None, None, None)


def test_it_plans_what_is_selected_once_for_all_providers(project: Project) -> None:
    project.doubled('@Doubled.provider("other", devices=("cpu",))\ndef other(op, x):\n    return lambda: x + x')
    found = project.run("-k", "rows64 or rows16", "--dsbench-hw=h200", "--dsbench-plan")
    found.plain()
    assert "doubled (2 cases)" in found.lines
    assert [line.split()[0] for line in found.lines if line.startswith("rows")] == ["rows16", "rows64"]


def test_broken_shapes_are_shown_and_fail_it(project: Project) -> None:
    project.doubled(shapes='operator = "doubled"\ncase = [\n  { rows = 16 },\n  { rows = 0 },\n]\n').file(
        "shapes/what.toml", "x =\n"
    )
    found = project.run("--dsbench-hw=h200", "--dsbench-plan")
    found.says("shapes/doubled.toml:4: doubled: dimension 'rows' is 0; expected int >= 1")
    found.says("shapes/what.toml:1: not TOML: Invalid value (at line 1, column 4)")
    assert found.code == 1
    assert "doubled (1 case)" in found.lines


def test_benches_by_hand_are_counted(project: Project) -> None:
    project.doubled().file(
        "bench_own.py",
        "def bench_one(dsbench):\n    raise AssertionError\n\n\ndef bench_two(dsbench):\n    raise AssertionError\n",
    )
    found = project.run("--dsbench-hw=h200", "--dsbench-plan")
    assert "2 benches by hand are not in the plan: they state their work when they run" in found.lines
    assert found.code == 0


def test_on_this_cpu(project: Project) -> None:
    found = project.doubled().run("--dsbench-plan")
    found.plain()
    assert found.code == 0
    assert any(line.startswith("cpu: ") for line in found.lines)
    assert "doubled (3 cases)" in found.lines
