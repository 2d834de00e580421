"""--dsbench-fuzz: extra shapes are checked, a failure is a row to paste, and the seed brings it back."""

import re

import pytest
from project import Project

pytest.importorskip("hypothesis", reason="hypothesis draws the shapes")

#: Wrong in its last column as soon as that is the 38th or a later one.
NARROW = """
    Doubled.fuzz = {"columns": (1, 100)}


    @Doubled.provider("narrow", devices=("cpu",))
    def narrow(op, x):
        def launch():
            out = x * 2
            out[:, 37:] = 0
            return out

        return launch
"""


def test_off_by_default(project: Project) -> None:
    found = project.doubled().check("--collect-only", "-q")
    assert "fuzz" not in found.text


def test_what_is_right_passes_and_is_counted(project: Project) -> None:
    found = project.doubled().check("--dsbench-fuzz=12", "-k", "fuzz")
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 1, "deselected": 3})
    (record,) = project.records()
    assert record.status == "checked" and record.case.tags == ("fuzz",)
    assert any(re.fullmatch(r"fuzz: \d+ drawn shapes checked", note) for note in record.notes)


def test_a_failure_is_shrunk_to_a_row_that_fails_again(project: Project) -> None:
    found = project.doubled(NARROW).check("--dsbench-fuzz=200,5", "-m", "fuzz", "--dsbench-provider=narrow")
    found.plain()
    assert (found.code, found.counts["failed"]) == (1, 1)
    assert "smallest failing shape of --dsbench-fuzz=200,5, as a row of a shape file of doubled:" in found.text
    row = next(line.strip() for line in found.lines if line.strip().startswith("{ rows"))
    assert row == "{ rows = 1, columns = 38 },"
    (record,) = project.records()
    assert record.case.dims == {"rows": 1, "columns": 38, "dtype": "fp32"}
    project.file("shapes/doubled.toml", f'operator = "doubled"\ncase = [\n  {row}\n]\n')
    again = project.check("--dsbench-provider=narrow")
    assert again.counts == {"failed": 1}
    assert "shapes/doubled.toml:3: doubled[rows1-columns38] narrow: provider 'narrow' output 'out' is wrong" in again.text


def test_the_seed_of_a_failure_is_said(project: Project) -> None:
    found = project.doubled(NARROW).check("--dsbench-fuzz=200", "-m", "fuzz", "--dsbench-provider=narrow")
    seeds = re.findall(r"--dsbench-fuzz=200,(\d+), as a row", found.text)
    assert seeds


@pytest.mark.parametrize("value", ["many", "-3", "5,", "5,x", "1.5"])
def test_mistakes(project: Project, value: str) -> None:
    found = project.doubled().check(f"--dsbench-fuzz={value}")
    found.says(f"ERROR: --dsbench-fuzz={value}: expected a number of draws, or that and a seed, such as 50 or 50,1234")
    assert found.code == 4
