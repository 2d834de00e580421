"""Limits of kernels: a case outside of one is skipped with it, before anything is made; kernels and models select."""

from pathlib import Path

import pytest
from project import Project

BENCHES = Path(__file__).parent.parent.parent / "benches"
LIMITED = """
@Doubled.provider("limited", devices=("cpu",), limits={"rows <= 64": "one kernel per row", "columns % 8 == 0": "by 8"})
def limited(op, x):
    assert op.rows <= 64
    return lambda: x * 2
"""


def test_a_case_outside_a_limit_is_skipped_with_it(project: Project) -> None:
    project.doubled(LIMITED)
    found = project.run("--dsbench-provider=limited", "-rs")
    assert found.code == 0 and found.counts == {"passed": 2, "skipped": 1}
    found.plain()
    assert "rows = 256, outside the limit rows <= 64 of limited: one kernel per row" in found.text
    # Cases outside of one limit are counted together.
    assert "   1 case skipped: outside the limit rows <= 64 of limited: one kernel per row" in found.lines
    (result,) = [one for one in project.records() if one.status == "skipped"]
    assert result.reason == "rows = 256, outside the limit rows <= 64 of limited: one kernel per row"
    assert result.bound is not None and result.correctness is None


def test_nothing_is_made_for_a_case_that_is_refused(project: Project) -> None:
    project.doubled(LIMITED.replace('"columns % 8 == 0"', '"columns > 8"'))
    path = project.path / "bench_doubled.py"
    path.write_text(path.read_text().replace('return {"x": new', 'assert new.device == "meta"; return {"x": new'))
    found = project.run("--dsbench-provider=limited")
    assert found.counts == {"skipped": 3}


def test_drawn_shapes_outside_a_limit_count_as_unsupported(project: Project) -> None:
    project.doubled(LIMITED.replace('"columns % 8 == 0"', '"columns > 8"'))
    found = project.run("--dsbench-provider=limited", "--dsbench-fuzz=5,1", "-k", "fuzz", "-rs")
    assert "limited supports none of 5 drawn shapes" in found.text


def test_a_limit_that_cannot_be_read_is_one_sentence_at_its_line(project: Project) -> None:
    project.doubled(LIMITED.replace('"rows <= 64"', '"rows <="'))
    found = project.run()
    found.plain()
    assert "provider 'limited': condition 'rows <=' cannot be read; expected a comparison of integers and names" in found.text


def test_a_limit_over_an_unknown_name_fails_the_case_in_one_sentence(project: Project) -> None:
    project.doubled(LIMITED.replace('"rows <= 64"', '"row <= 64"'))
    found = project.run("--dsbench-provider=limited")
    found.plain()
    assert "limited: provider 'limited': condition 'row <= 64': unknown name 'row'; did you mean 'rows'?" in found.text


def test_models_are_selected_by_their_tags(project: Project) -> None:
    chosen = ("-m", "deepseek_r1 and decode", "--dsbench-hw=gb200", "--dsbench-plan=plan.jsonl")
    found = project.run(str(BENCHES), f"--rootdir={project.path}", *chosen)
    found.plain()
    assert found.code == 0
    lines = (project.path / "plan.jsonl").read_text().splitlines()
    assert lines and all('"decode"' in line and '"deepseek_r1"' in line for line in lines)


TINY = """
model = "tiny"
title = "Tiny"
source = "made up"
constants = { width = 16 }
layers = { all = 1 }
[[phase]]
name = "decode"
batch = [2, 32]
sequence = [1]
context = [8]
[[op]]
name = "double"
operator = "doubled"
category = "copy"
dims = { rows = "= batch", columns = "= width // 2" }
"""


def test_a_project_has_models_of_its_own(project: Project) -> None:
    project.doubled(shapes='operator = "doubled"\ncase = [{ rows = 2, tags = ["small"] }]\n')
    project.file("models/tiny.toml", TINY)
    found = project.run("-m", "tiny")
    assert found.code == 0 and found.counts == {"passed": 2}
    assert {(one.case.label, one.case.tags) for one in project.records()} == {
        ("rows2", ("small", "tiny", "decode", "double")),
        ("rows32", ("tiny", "decode", "double")),
    }


def test_a_broken_model_fails_as_an_item_of_its_own(project: Project) -> None:
    project.doubled().file("models/tiny.toml", 'model = "tiny"\n')
    found = project.run()
    found.says("models/tiny.toml:1: no [[phase]]; a model needs at least one")
    assert found.code == 1 and found.counts["passed"] == 3


@pytest.mark.parametrize(
    "old, new", [('"doubled"', '"dubbled"'), ("= width // 2", "= wdth // 2"), ('name = "double"', 'nmae = "double"')]
)
def test_what_is_broken_among_the_selected_is_selected(project: Project, old: str, new: str) -> None:
    """Selected by a tag of the model: the broken op must not just be missing."""
    project.doubled().file("models/tiny.toml", TINY.replace(old, new))
    found = project.run("-m", "tiny and decode")
    assert (found.code, found.counts) == (1, {"failed": 1, "deselected": found.counts["deselected"]})
    assert "models/tiny.toml:1" in found.text


def test_a_broken_row_is_selected_by_its_tags(project: Project) -> None:
    project.doubled(shapes='operator = "doubled"\ncase = [{ rows = 2 }, { rows = 0, tags = ["small"] }]\n')
    found = project.run("-m", "small")
    assert found.code == 1 and "doubled: dimension 'rows' is 0; expected int >= 1" in found.text
