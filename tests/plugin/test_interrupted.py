"""A run that does not reach its end: every finished case is on disk and readable."""

from project import Project

INTERRUPTED = """
@Doubled.provider("stops", devices=("cpu",))
def stops(op, x):
    def launch():
        if op.rows == 64:
            {how}
        return x * 2
    return launch
"""
SHAPES = 'operator = "doubled"\ncase = [{ rows = [16, 64, 256] }]\n'


def cases(project: Project) -> list[tuple[str, str]]:
    return [(one.case.name, one.status) for one in project.records()]


def test_by_the_keyboard(project: Project) -> None:
    project.doubled(INTERRUPTED.replace("{how}", "raise KeyboardInterrupt"), SHAPES)
    found = project.spawn("--benchmark-disable")
    assert found.code == 2
    names = ("rows16] good", "rows16] stops", "rows64] good", "rows64] stops", "rows256] good", "rows256] stops")
    statuses = ["checked"] * 3 + ["not_run"] * 3
    assert cases(project) == [(f"doubled[{name}", status) for name, status in zip(names, statuses, strict=True)]
    missing = tuple(f"bench_doubled.py::bench_doubled[{case}]" for case in ("rows64-stops", "rows256-good", "rows256-stops"))
    end = project.read().end
    assert end is not None
    assert (end.planned, end.produced, end.not_run) == (6, 6, missing)
    assert {one.reason for one in project.records()} == {None, "the run was interrupted"}
    assert "   3 cases not run: the run was interrupted" in found.lines
    assert "doubled   good          -     2     0     0" in found.text, "the summary of what there is"


def test_by_the_end_of_the_process(project: Project) -> None:
    project.doubled(INTERRUPTED.replace("{how}", "import os; os._exit(7)"), SHAPES)
    found = project.spawn("--benchmark-disable")
    assert found.code == 7
    # The guard completes it once the process is gone.
    run = project.complete()
    assert cases(project) == [
        ("doubled[rows16] good", "checked"),
        ("doubled[rows16] stops", "checked"),
        ("doubled[rows64] good", "checked"),
        ("doubled[rows64] stops", "crashed"),
        ("doubled[rows256] good", "not_run"),
        ("doubled[rows256] stops", "not_run"),
    ]
    assert run.header is not None and run.header.hardware.name == "cpu"


def test_by_the_first_failure(project: Project) -> None:
    project.doubled(INTERRUPTED.replace("{how}", "return x"), SHAPES)
    found = project.check("-x")
    assert (found.code, found.counts) == (1, {"failed": 1, "passed": 3})
    assert [status for _, status in cases(project)] == ["checked", "checked", "checked", "failed", "not_run", "not_run"]
    assert "   2 cases not run: stopping after 1 failures" in found.lines
    end = project.read().end
    assert end is not None and len(end.not_run) == 2


def test_a_run_that_reached_its_end_says_so(project: Project) -> None:
    project.doubled(shapes=SHAPES)
    found = project.check()
    end = project.read().end
    assert end is not None and (end.planned, end.produced, end.not_run) == (3, 3, ())
    assert "not run" not in found.text
