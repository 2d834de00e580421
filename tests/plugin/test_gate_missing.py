"""A case that vanished is an alarm; one that nobody asked for, or that was not reached, is none."""

import pytest
from facts import Gated, every
from project import Project

SECOND = '@Doubled.provider("second", devices=("cpu",))\ndef second(op, x):\n    return lambda: x * 2'
#: rows64 is gone.
FEWER = 'operator = "doubled"\ncase = [{ rows = 16 }, { rows = 256 }]\n'
OWN = """
import pytest

from pytest_dsbench import Work


@pytest.mark.parametrize("size", [4, 8])
def bench_own(dsbench, size):
    dsbench(
        inputs=lambda new: {"x": new.normal((size, size), "fp32")},
        launch=lambda x: x * 2,
        reference=lambda x: x.double() * 2,
        work=Work(read=4 * size * size, written=4 * size * size, flop={"fp32": size * size}),
    )
"""
OWN_NOT_RUN = {"4-own": "not_run", "8-own": "not_run"}


@pytest.fixture
def gated(project: Project, monkeypatch: pytest.MonkeyPatch) -> Gated:
    return Gated(project.doubled(SECOND), monkeypatch)


def both(outcome: str, *labels: str) -> dict[str, str]:
    return {f"{label}-{provider}": outcome for label in labels for provider in ("good", "second")}


def test_a_case_that_vanished(gated: Gated) -> None:
    gated.baseline().project.file("shapes/doubled.toml", FEWER)
    found = gated.compare()
    assert (found.code, found.counts) == (1, {"passed": 4})
    assert gated.verdicts() == both("same", "rows16", "rows256") | both("missing", "rows64")
    assert "exit code 1: cases are missing, or many got slower together; see above" in found.lines
    lines = [line for line in found.lines if line.startswith("doubled[rows64] ")]
    assert [line.split()[1:3] for line in lines] == [["good", "missing"], ["second", "missing"]]
    assert all("baselines/cpu has it, last on 2026-11-" in line for line in lines)
    line = "2 cases missing: if that was meant, dsbench baseline prune RUN removes what is stored of them"
    assert line in found.lines
    # A reason accepts slowdowns; a case that is gone is gone, and stays stored until it is pruned.
    assert gated.compare("--dsbench-save=smaller suite").code == 1
    assert gated.stored(64)


def test_a_bench_file_that_vanished(gated: Gated) -> None:
    gated.project.file("bench_own.py", OWN)
    gated.baseline()
    (gated.path / "bench_doubled.py").unlink()
    gated.project.file("shapes/doubled.toml", 'operator = "rms_norm"\n')
    assert (gated.compare().code, set(gated.verdicts().values())) == (1, {"same", "missing"})


@pytest.mark.parametrize(
    ("words", "verdicts"),
    [
        (["-k", "rows16"], both("same", "rows16")),
        (["-m", "small"], both("same", "rows16")),
        (
            ["--deselect", "bench_doubled.py::bench_doubled[rows16-good]"],
            {**both("same", "rows16", "rows256"), "rows16-good": ""},
        ),
        (["--dsbench-provider=good"], every("same", ("rows16", "rows256")) | every("missing", ("rows64",))),
        (["bench_doubled.py::bench_doubled[rows16-good]"], every("same", ("rows16",))),
        (["bench_doubled.py"], both("same", "rows16", "rows256") | both("missing", "rows64")),
        (["."], both("same", "rows16", "rows256") | both("missing", "rows64")),
        (["bench_own.py"], {"4-own": "new", "8-own": "new"}),
        (["--ignore=bench_doubled.py"], {"4-own": "new", "8-own": "new"}),
        (["more"], {"4-own": "new", "8-own": "new"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_was_not_asked_for_is_not_missing(gated: Gated, words: list[str], verdicts: dict[str, str]) -> None:
    gated.baseline().project.file("shapes/doubled.toml", FEWER.replace("rows = 16", 'rows = 16, tags = ["small"]'))
    place = "more/bench_own.py" if words == ["more"] else "bench_own.py"
    if "bench_own.py" in words or "more" in words or "--ignore=bench_doubled.py" in words:
        gated.project.file(place, OWN)
    found = gated.run(*words, "--dsbench-compare")
    assert gated.verdicts() == {name: outcome for name, outcome in verdicts.items() if outcome}
    assert found.code == ("missing" in verdicts.values())


def test_what_was_not_reached_is_not_missing(gated: Gated) -> None:
    gated.project.file("bench_own.py", OWN)
    gated.baseline().facts.takes["rows64-good"] = 1.2
    found = gated.compare("-x")
    assert (found.code, found.counts) == (1, {"failed": 1, "passed": 2})
    assert gated.verdicts() == {
        **both("same", "rows16"),
        "rows64-good": "regressed",
        **both("not_run", "rows256"),
        "rows64-second": "not_run",
        **OWN_NOT_RUN,
    }


def test_a_skipped_bench_is_not_missing(gated: Gated) -> None:
    gated.project.file("bench_own.py", OWN)
    gated.baseline().project.file("bench_own.py", OWN.replace("@pytest", '@pytest.mark.skip("today")\n@pytest', 1))
    found = gated.compare()
    assert (found.code, found.counts) == (0, {"passed": 6, "skipped": 2})
    assert gated.verdicts() == both("same", "rows16", "rows64", "rows256") | OWN_NOT_RUN


def test_a_suite_whose_provider_is_gone_misses_all_of_it(gated: Gated) -> None:
    gated.baseline()
    bench = gated.path / "bench_doubled.py"
    bench.write_text(bench.read_text().replace('("cpu", "cuda")', '("cuda",)').replace('("cpu",)', '("cuda",)'))
    found = gated.compare()
    assert (found.code, found.counts) == (1, {"skipped": 1})
    assert gated.verdicts() == both("missing", "rows16", "rows64", "rows256")
