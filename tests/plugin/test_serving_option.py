"""--dsbench-serving: what the changes of a night cost what is served with its kernels."""

import sys

import pytest
from facts import Gated
from project import Project

from pytest_dsbench.hardware import named
from pytest_dsbench.serving import precision
from pytest_dsbench.serving.configuration import Configuration
from pytest_dsbench.serving.estimate import estimate
from pytest_dsbench.serving.model import architecture
from pytest_dsbench.serving.price.assumed import defaults
from pytest_dsbench.units import show_number

SERVED = "qwen3_8b,gpu=h200,batch=32,policy=naive,context=4096"


@pytest.fixture
def gated(project: Project, monkeypatch: pytest.MonkeyPatch) -> Gated:
    return Gated(project.doubled(), monkeypatch)


def expected() -> list[str]:
    """None of the project's kernels is one of the model's."""
    given = Configuration(
        model=architecture.named("qwen3_8b"),
        gpu=named("h200"),
        nic=None,
        split=None,
        precision=precision.named("bf16"),
        policy="naive",
        batch=32,
        context=4096,
    )
    rate = show_number(estimate(given, defaults()).per_gpu)
    told = "only ratios were measured, and not on h200: its times are assumed"
    first = f"serving {SERVED}: {rate} -> {rate} tokens/s per GPU (0 %); {told}"
    return [first, "  no kernel of it is among those that regressed or improved"]


def test_it_is_told_at_the_end_of_the_gates_summary(gated: Gated) -> None:
    gated.baseline().facts.takes["rows64-good"] = 1.1
    found = gated.compare(f"--dsbench-serving={SERVED}", "--dsbench-summary=night.md")
    at = found.lines.index("3 cases: 1 regressed, 2 same")
    assert (found.code, found.lines[at + 1 : at + 4]) == (1, ["", *expected()])
    assert "dsbench impact" not in found.text
    page = (gated.path / "night.md").read_text(encoding="utf-8").splitlines()
    at = page.index("- 3 cases: 1 regressed, 2 same")
    assert page[at + 1 : at + 4] == ["", f"- {expected()[0]}", f"  - {expected()[1].strip()}"]


def test_lines_of_the_ini_file_wait_for_a_night_that_is_compared(gated: Gated) -> None:
    gated.baseline().project.file("pytest.ini", f"[pytest]\ndsbench_serving =\n  {SERVED}\n  qwen3_8b,gpu=h20,batch=8\n")
    assert "serving" not in gated.run().text
    lines = [line for line in gated.compare().lines if line.startswith("serving ")]
    assert lines[0] == expected()[0] and lines[1].startswith("serving qwen3_8b,gpu=h20,batch=8,context=4096: ")


def test_who_did_not_ask_is_told_where_to(gated: Gated) -> None:
    gated.baseline()
    assert "dsbench impact" not in gated.compare().text
    gated.facts.takes["rows64-good"] = 1.1
    hint = "what that is in tokens/s of what is served: dsbench impact RUN --against BASELINE --model NAME"
    assert hint in gated.compare().lines


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["qwen3_8c,gpu=h200,batch=8", "--dsbench-compare"],
            "=qwen3_8c,gpu=h200,batch=8: unknown model 'qwen3_8c'; did you mean",
        ),
        (["qwen3_8b,batch=8", "--dsbench-compare"], "=qwen3_8b,batch=8: --gpu: expected the name or the path of a data sheet"),
        ([SERVED], " tells what it costs that --dsbench-compare finds; give that too"),
    ],
)
def test_mistakes_before_anything_is_measured(project: Project, arguments: list[str], sentence: str) -> None:
    first, *rest = arguments
    found = project.doubled().run(f"--dsbench-serving={first}", *rest)
    found.plain()
    assert (found.code, found.counts) == (4, {})
    assert [line for line in found.lines if line.startswith(f"ERROR: --dsbench-serving{sentence}")], found.text
    assert not (project.path / "runs").exists()


def test_nothing_of_it_is_loaded_where_nobody_asked(project: Project) -> None:
    check = "import sys\n\ndef pytest_unconfigure():\n    print('loaded', 'pytest_dsbench.serving.estimate' in sys.modules)\n"
    project.doubled().file("conftest.py", check)
    found = project.spawn("--benchmark-disable", "-p", "no:cacheprovider")
    assert found.code == 0 and "loaded False" in found.text
    assert "pytest_dsbench.serving.estimate" in sys.modules, "the check can tell"
