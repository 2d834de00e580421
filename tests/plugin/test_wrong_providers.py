"""A provider that is wrong in any of the known ways fails its own case with one sentence, and no other one."""

import re
from textwrap import indent

import pytest
from project import Outcome, Project

from pytest_dsbench.hardware.device import cpu

SHAPES = 'operator = "doubled"\ncase = [{ rows = 300 }]\n'
CASE = "shapes/doubled.toml:2: doubled[rows300] bad"


def bad(project: Project, body: str, *arguments: str, line: str = '@Doubled.provider("bad", devices=("cpu",))') -> Outcome:
    """Runs a provider with this body beside the good one."""
    project.doubled(f"{line}\ndef bad(op, x):\n{indent(body, '    ')}", SHAPES)
    return project.run(*arguments)


# body of the provider, and what has to be said about it
CHECKED = {
    "raises in its launch": (
        'def launch():\n    raise RuntimeError("no such kernel\\nand more")\nreturn launch',
        "raised RuntimeError: no such kernel (bench_doubled.py:39)",
    ),
    "raises while it prepares": (
        'raise ImportError("libcudart.so.12")',
        "raised ImportError: libcudart.so.12 (bench_doubled.py:38)",
    ),
    "prepares nothing": ("x * 2", "prepared a NoneType; expected the launch, a function without arguments"),
    "wrong shape": ("return lambda: (x * 2)[:-1]", "output 'out' has shape [299, 8]; expected [300, 8]"),
    "transposed shape": ("return lambda: (x * 2).T", "output 'out' has shape [8, 300]; expected [300, 8]"),
    "wrong dtype": ("return lambda: (x * 2).bfloat16()", "output 'out' has dtype bf16; expected fp32"),
    "wrong device": ('return lambda: (x * 2).to("meta")', "output 'out' is on meta; expected cpu"),
    "too many outputs": ("return lambda: (x * 2, x * 2)", "returned 2 outputs; expected 1: out"),
    "no output": ("return lambda: None", "returned nothing; expected 1: out"),
    "an empty tuple": ("return lambda: ()", "returned 0 outputs; expected 1: out"),
    "not a tensor": (
        "return lambda: (x * 2).numpy()",
        "output 'out' is a ndarray; expected a torch.Tensor with storage of its own",
    ),
    "a subclass": (
        "class Lazy(torch.Tensor):\n    pass\nreturn lambda: (x * 2).as_subclass(Lazy)",
        "output 'out' is a Lazy; expected a torch.Tensor with storage of its own",
    ),
    "NaN": (
        'return lambda: (x * 2).index_fill_(0, torch.tensor([7]), float("nan"))',
        "output 'out' is wrong: nan at [7, 0] where the reference is {want} (8 such elements); perhaps it was never written"
        " [inputs: content 0]",
    ),
    "never written": (
        "return lambda: torch.empty_like(x)",
        "output 'out' is wrong: nan at [0, 0] where the reference is {want} (2400 such elements); perhaps it was never written"
        " [inputs: content 0]",
    ),
    "partly written": (
        "def launch():\n    out = torch.empty_like(x)\n    out[:299] = x[:299] * 2\n    return out\nreturn launch",
        "output 'out' is wrong: nan at [299, 0] where the reference is {want} (8 such elements); perhaps it was never written"
        " [inputs: content 0]",
    ),
    "wrong in its last row": (
        "def launch():\n    out = x * 2\n    out[-1] = x[-2] * 2\n    return out\nreturn launch",
        "output 'out' is wrong: |o - r| = {number} at [299, {number}] (o = {number}), over the allowed {number};"
        " {number} of 2400 elements are off [inputs: content 0]",
    ),
    "computed while it prepared": ("out = x * 2\nreturn lambda: out", "output 'out' is wrong: {element} [inputs: content 1]"),
    "computed at its first call": (
        "kept = []\n\ndef launch():\n    kept.append(x * 2)\n    return kept[0]\nreturn launch",
        "output 'out' is wrong: {element} [inputs: content 1]",
    ),
    "remembered by address": (
        "kept = {}\n\ndef launch():\n    if x.data_ptr() not in kept:\n        kept[x.data_ptr()] = x * 2\n"
        "    return kept[x.data_ptr()]\nreturn launch",
        "output 'out' is wrong: {element} [inputs: content 1]",
    ),
    "changes its input": (
        "return lambda: x.mul_(2)",
        "changed its input 'x'; declare it with inplace=('x',) if the kernel works in place",
    ),
    "writes behind its input": (
        "def launch():\n    x.as_strided((1,), (1,), x.storage_offset() + x.numel()).zero_()\n    return x * 2\nreturn launch",
        "wrote out of bounds: the guard bytes around input 'x' changed",
    ),
    "writes in front of its input": (
        "def launch():\n    x.as_strided((1,), (1,), x.storage_offset() - 1).zero_()\n    return x * 2\nreturn launch",
        "wrote out of bounds: the guard bytes around input 'x' changed",
    ),
    "writes behind its output": (
        "def launch():\n    out = torch.empty_like(x)\n    torch.mul(x, 2, out=out)\n"
        "    out.as_strided((1,), (1,), out.storage_offset() + out.numel()).zero_()\n    return out\nreturn launch",
        "wrote out of bounds: the guard bytes around an output it allocated changed",
    ),
    "writes in front of its output": (
        "def launch():\n    out = torch.empty_like(x)\n    torch.mul(x, 2, out=out)\n"
        "    out.as_strided((1,), (1,), out.storage_offset() - 1).zero_()\n    return out\nreturn launch",
        "wrote out of bounds: the guard bytes around an output it allocated changed",
    ),
    "out of memory": (
        "return lambda: torch.zeros(1 << 50)",
        "ran out of memory on {title}; a smaller --dsbench-budget skips cases of this size",
    ),
    "out of Python's memory": (
        "return lambda: bytearray(1 << 60)",
        "ran out of memory on {title}; a smaller --dsbench-budget skips cases of this size",
    ),
}


@pytest.mark.parametrize("name", CHECKED)
def test_it_is_found_before_any_timing(project: Project, name: str) -> None:
    body, sentence = CHECKED[name]
    found = bad(project, body, "--benchmark-disable")
    found.plain()
    matches(found, f"{CASE}: provider 'bad' {sentence}")
    assert (found.code, found.counts) == (1, {"failed": 1, "passed": 1})
    good, wrong = sorted(project.records(), key=lambda one: one.status)
    assert (good.case.provider, good.status, good.reason) == ("good", "checked", None)
    assert (wrong.case.provider, wrong.status, wrong.time) == ("bad", "failed", None)


# found only while or after it is timed
TIMED = {
    "right when checked, wrong when timed": (
        "calls = []\n\ndef launch():\n    calls.append(1)\n    return x * (2 if len(calls) < 9 else 3)\nreturn launch",
        "a timed call was wrong although the checked ones were right (stale or replayed?): output 'out' is wrong: {element}",
    ),
    "stale when timed": (
        "kept, calls = {}, []\n\ndef launch():\n    calls.append(1)\n    if len(calls) < 9:\n        return x * 2\n"
        "    return kept.setdefault(0, x * 2)\nreturn launch",
        "a timed call was wrong although the checked ones were right (stale or replayed?): output 'out' is wrong: {element}",
    ),
    "out of bounds when timed": (
        "calls = []\n\ndef launch():\n    calls.append(1)\n    if len(calls) == 9:\n"
        "        x.as_strided((1,), (1,), x.storage_offset() - 1).zero_()\n    return x * 2\nreturn launch",
        "wrote out of bounds during the timed calls: the guard bytes around input 'x' changed",
    ),
}


@pytest.mark.parametrize("name", TIMED)
def test_it_is_found_while_timing(project: Project, name: str) -> None:
    body, sentence = TIMED[name]
    # What a provider keeps outside of its function is common to all its buffer sets.
    lines = body.split("\n\ndef launch")
    shared, launch = lines[0], "def launch" + lines[1]
    project.doubled(
        f'{shared}\n\n\n@Doubled.provider("bad", devices=("cpu",))\ndef bad(op, x):\n{indent(launch, "    ")}', SHAPES
    )
    found = project.run("--dsbench-provider=bad")
    found.plain()
    matches(found, f"{CASE}: provider 'bad' {sentence}")
    assert (found.code, found.counts) == (1, {"failed": 1})
    (record,) = project.records()
    assert (record.status, record.time) == ("failed", None)


def test_changing_an_input_is_right_where_it_is_declared(project: Project) -> None:
    line = '@Doubled.provider("bad", devices=("cpu",), inplace=("x",))'
    found = bad(project, "return lambda: x.mul_(2)", line=line)
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 2})
    assert [one.status for one in project.records()] == ["passed", "passed"]


def test_a_case_that_a_provider_declines_is_skipped_with_its_reason(project: Project) -> None:
    body = 'from pytest_dsbench import Unsupported\n\nraise Unsupported("rows must be a multiple of 128")'
    found = bad(project, body, "--benchmark-disable", "-rs")
    found.plain()
    assert (found.code, found.counts) == (0, {"passed": 1, "skipped": 1})
    assert "   1 case skipped: rows must be a multiple of 128" in found.lines


def test_a_provider_defined_twice(project: Project) -> None:
    provider = 'from pytest_dsbench import bench, find\n\n\n@find("rms_norm").provider("mine")\ndef mine(op, x, weight): ...\n'
    project.file("conftest.py", provider)
    project.file("bench_norm.py", f'{provider}\n\nbench_norm = bench("rms_norm")\n')
    found = project.check()
    found.says("bench_norm.py:4: provider 'mine' of rms_norm is already defined at conftest.py:4")
    assert found.code == 2


def matches(found: Outcome, pattern: str) -> None:
    """Asserts that some whole line is `pattern`: {number}, {want} and {element} stand for figures, {title} for the CPU."""
    number = r"-?[\d.]+(?:e[+-]\d+)?"
    element = rf"\|o - r\| = {number} at \[\d+, \d+\] \(o = {number}\), over the allowed {number}; \d+ of 2400 elements are off"
    text = re.escape(pattern.replace("{title}", cpu().name))
    for name, figure in (("number", number), ("want", number), ("element", element)):
        text = text.replace(re.escape("{" + name + "}"), figure)
    assert any(re.fullmatch(text, line) for line in found.lines), f"nobody said {pattern!r}:\n{found.text}"
