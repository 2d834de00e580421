"""A mistake in a shape file: one sentence with path:line, a failed item, and everything else runs."""

import pytest
from project import Project

from pytest_dsbench.operators import everything

# (row as the second row of rms_norm's file, the sentence that has to be shown for it)
ROWS = {
    "unknown dimension": (
        "{ tokens = 4, hiden = 8 }",
        "unknown dimension of rms_norm 'hiden'; did you mean 'hidden'? known: calls, dtype, eps, from, hidden, id, importance,"
        " label, library, note, production_us, recovers, tags, tokens, tp, trace_us",
    ),
    "missing dimension": ("{ tokens = 4 }", "rms_norm: dimension 'hidden' is missing"),
    "unknown dtype": (
        '{ tokens = 4, hidden = 8, dtype = "bf61" }',
        "rms_norm: unknown dtype 'bf61'; did you mean 'bf16'? known: bf16, fp16, fp32",
    ),
    "wrong type": ('{ tokens = "4", hidden = 8 }', "rms_norm: dimension 'tokens' is '4'; expected int, got str"),
    "fraction": ("{ tokens = 4.5, hidden = 8 }", "rms_norm: dimension 'tokens' is 4.5; expected int, got float"),
    "zero": ("{ tokens = 0, hidden = 8 }", "rms_norm: dimension 'tokens' is 0; expected int >= 1"),
    "negative in a sweep": ("{ tokens = [5, -4], hidden = 8 }", "rms_norm: dimension 'tokens' is -4; expected int >= 1"),
    "overflow of one": (
        "{ tokens = 1099511627777, hidden = 8 }",
        "rms_norm: dimension 'tokens' is 1099511627777; expected int <= 1099511627776",
    ),
    "overflow of the product": (
        "{ tokens = 1099511627776, hidden = 1099511627776 }",
        "rms_norm: these dimensions overflow: 4.84e+24 bytes fit in no memory",
    ),
    "duplicate": (
        "{ tokens = 2, hidden = 8 }",
        "duplicate case: rms_norm at tokens2-hidden8 is already declared at shapes/norm.toml:3",
    ),
    "unknown name": (
        '{ tokens = 4, hidden = "= tokns * 2" }',
        "formula '= tokns * 2': unknown name 'tokns'; did you mean 'tokens'? known: dtype, eps, hidden, tokens",
    ),
    "division by zero": ('{ tokens = 4, hidden = "= 8 // (tokens - 4)" }', "formula '= 8 // (tokens - 4)' divides by zero"),
    "call": (
        '{ tokens = 4, hidden = "= __import__(1)" }',
        "formula '= __import__(1)' calls a function; only + - * // % and brackets are allowed",
    ),
    "power": (
        '{ tokens = 4, hidden = "= 9 ** 999999999" }',
        "formula '= 9 ** 999999999' uses '9 ** 999999999'; only integers, names, + - * // % and brackets are allowed",
    ),
    "formula overflows": (
        '{ tokens = 4, hidden = "= 9223372036854775807 * 2" }',
        "formula '= 9223372036854775807 * 2' overflows: its value does not fit in 64 bits",
    ),
    "circle": (
        '{ tokens = "= hidden", hidden = "= tokens" }',
        "the formulas of tokens, hidden refer to each other in a circle",
    ),
    "explosion": (
        f"{{ tokens = {list(range(3, 403))}, hidden = {list(range(8, 308))} }}",
        "the sweep explodes: 120,001 cases in this file; at most 100,000 are allowed",
    ),
    "tag": (
        '{ tokens = 4, hidden = 8, tags = ["a b"] }',
        "tag 'a b' cannot be a pytest mark; expected a letter, then letters, digits and _",
    ),
    "private tag": (
        '{ tokens = 4, hidden = 8, tags = ["_a"] }',
        "tag '_a' cannot be a pytest mark; expected a letter, then letters, digits and _",
    ),
    "a tag that would skip": (
        '{ tokens = 4, hidden = 8, tags = ["skip"] }',
        "tag 'skip' is a mark that means something to pytest; choose another word",
    ),
}
BENCH = 'from pytest_dsbench import bench\n\nbench_norm = bench("rms_norm")\n'


def norm(project: Project, row: str) -> None:
    project.file("bench_norm.py", BENCH)
    project.file("shapes/norm.toml", f'operator = "rms_norm"\ncase = [\n  {{ tokens = 2, hidden = 8 }},\n  {row},\n]\n')


@pytest.mark.parametrize("name", ROWS)
def test_a_bad_row_fails_and_the_others_run(project: Project, name: str) -> None:
    row, sentence = ROWS[name]
    norm(project, row)
    found = project.check()
    found.says(f"shapes/norm.toml:4: {sentence}")
    assert (found.code, found.counts) == (1, {"failed": 1, "passed": 1})
    assert [one.case.label for one in project.records()] == ["tokens2-hidden8"]


def test_a_case_declared_in_two_files(project: Project) -> None:
    norm(project, "{ tokens = 3, hidden = 8 }")
    project.file("shapes/zz.toml", 'operator = "rms_norm"\n\n[[case]]\ntokens = 3\nhidden = 8\n')
    found = project.check()
    found.says("shapes/zz.toml:3: duplicate case: rms_norm at tokens3-hidden8 is already declared at shapes/norm.toml:4")
    assert found.counts == {"failed": 1, "passed": 2}


def test_a_file_that_is_not_toml_fails_its_bench_only(project: Project) -> None:
    norm(project, "{ tokens = , hidden = 8 }")
    project.doubled()
    found = project.check()
    found.says("shapes/norm.toml:4: not TOML: Invalid value (at line 4, column 14)")
    assert found.counts == {"failed": 1, "passed": 3}
    assert "FAILED bench_norm.py::bench_norm[shapes/norm.toml:4]" in found.text


def test_a_file_whose_operator_cannot_be_told_fails_on_its_own(project: Project) -> None:
    project.doubled().file("shapes/what.toml", "case = [\n")
    found = project.check()
    found.says("shapes/what.toml:1: not TOML: Invalid value (at end of document)")
    assert (found.code, found.counts) == (1, {"failed": 1, "passed": 3})


def test_an_unknown_operator_in_a_shape_file_fails_on_its_own(project: Project) -> None:
    project.doubled().file("shapes/what.toml", '\noperator = "doubeld"\ncase = [{ rows = 1 }]\n')
    found = project.check()
    known = ", ".join(sorted({*everything(), "doubled"}))
    found.says(f"shapes/what.toml:1: unknown operator 'doubeld'; did you mean 'doubled'? known: {known}")
    assert found.counts == {"failed": 1, "passed": 3}


def test_an_unknown_operator_in_a_bench_file(project: Project) -> None:
    project.doubled().file("bench_other.py", 'from pytest_dsbench import bench\n\nbench_norm = bench("rms_nrom")\n')
    found = project.check("--continue-on-collection-errors")
    known = ", ".join(sorted({*everything(), "doubled"}))
    found.says(f"bench_other.py:3: unknown operator 'rms_nrom'; did you mean 'rms_norm'? known: {known}")
    assert (found.code, found.counts) == (1, {"errors": 1, "passed": 3})


def test_a_work_formula_that_raises_fails_its_own_rows(project: Project) -> None:
    project.doubled()
    bench = project.path / "bench_doubled.py"
    bench.write_text(bench.read_text().replace("flop={", "flop={} if 1 // (self.rows - 64) else {"))
    found = project.check()
    found.says("shapes/doubled.toml:4: doubled: work() raised ZeroDivisionError: integer division or modulo by zero")
    assert found.counts == {"failed": 1, "passed": 1}


def test_a_folder_of_shapes_that_is_not_there(project: Project) -> None:
    project.doubled().file("pytest.ini", "[pytest]\ndsbench_shapes = shapes nowhere\n")
    found = project.check()
    found.says("nowhere:1: no such shape file or folder")
    assert found.counts == {"failed": 1, "passed": 3}
