"""An operator or a bench whose own definition is wrong: the case fails with one sentence that blames nobody else."""

import msgspec
import pytest
from project import Project

from pytest_dsbench import peaks

SHAPES = 'operator = "doubled"\ncase = [{ rows = 16 }]\n'
CASE = "shapes/doubled.toml:2: doubled[rows16] good"


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        (
            "return x.double() * 2",
            'return x.double() * float("nan")',
            "the reference of doubled itself gives NaN [inputs: random]",
        ),
        (
            "return x.double() * 2",
            'raise ValueError("rows must be even")',
            "the reference of doubled raised ValueError: rows must be even (bench_doubled.py:27)",
        ),
        ("return x.double() * 2", "return x, x", "the reference returned 2 outputs; expected 1: out"),
        (
            'return {"x": new.normal(',
            'return {"x": new.norml(',
            "the definition of doubled raised AttributeError: 'Maker' object has no attribute 'norml' (bench_doubled.py:21)",
        ),
        (
            'return {"out": Spec(',
            'return {"out": self.spec(',
            "the definition of doubled raised AttributeError: 'Doubled' object has no attribute 'spec' (bench_doubled.py:24)",
        ),
    ],
    ids=[
        "a reference of NaN",
        "a reference that raises",
        "a reference that returns too much",
        "inputs that raise",
        "outputs that raise",
    ],
)
def test_the_operator_is_blamed(project: Project, right: str, wrong: str, sentence: str) -> None:
    project.doubled(shapes=SHAPES)
    bench = project.path / "bench_doubled.py"
    text = bench.read_text()
    assert right in text
    bench.write_text(text.replace(right, wrong))
    found = project.check()
    found.says(f"{CASE}: {sentence}")
    assert (found.code, found.counts) == (1, {"failed": 1})
    (record,) = project.records()
    assert (record.status, record.reason) == ("failed", sentence)


def test_a_torch_provider_that_fails_is_not_blamed_on_another(project: Project) -> None:
    project.doubled(
        '@Doubled.provider("torch", devices=("cpu",))\ndef native(op, x):\n    raise RuntimeError("not for these rows")', SHAPES
    )
    found = project.check()
    sentence = "provider 'torch' raised RuntimeError: not for these rows (bench_doubled.py:38)"
    found.says(f"shapes/doubled.toml:2: doubled[rows16] torch: {sentence}")
    assert found.counts == {"failed": 1, "passed": 1}


#: A roof that is not measured again when it is beaten.
ROOF = """
title = "a slow CPU"
kind = "cpu"
bandwidth = "1 GB/s"
source = "made up"

[peak]
fp32 = "1 GFLOP/s"
"""
HAND = """
import pytest
from pytest_dsbench import Tolerance, Work


@pytest.mark.parametrize("rows", [16])
def bench_sum(dsbench, rows):
    dsbench(
        inputs=lambda new: {"x": new.normal((rows, 8), "fp32")},
        launch=lambda x: x.sum(-1),
        reference=lambda x: x.double().sum(-1),
        work=Work(read=32 * rows, written=4 * rows, flop={"fp32": 100_000_000}),
        tolerance=Tolerance(rtol=1e-4, atol=1e-4),
    )
"""


def test_faster_than_light(project: Project) -> None:
    project.file("bench_sum.py", HAND)
    project.file("slow.toml", ROOF)
    found = project.run("--dsbench-hw=slow.toml")
    found.plain()
    (line,) = [line for line in found.lines if line.startswith("bench_sum.py:5: sum[16] own: faster than light: T ")]
    assert line.endswith(
        " is below 0.97 x T_SOL 100 ms; the result was replayed, the cache was hot, work went to another stream,"
        " or the work model counts too much"
    )
    assert (found.code, found.counts) == (1, {"failed": 1})
    (record,) = project.records()
    assert record.status == "invalid"
    assert "sum       own           -     0     1     0" in found.text


def test_a_roof_of_this_cpu_that_was_beaten_is_measured_again_before_anybody_is_blamed(project: Project) -> None:
    path = peaks.cache_path()
    kept = path.read_bytes()
    low = peaks.sheet()
    path.write_bytes(msgspec.json.encode(low.replace(peak=dict.fromkeys(low.peak, 1e9))))
    try:
        project.file("bench_sum.py", HAND.replace("100_000_000", "10_000_000"))
        found = project.run()
        (record,) = project.records()
    finally:
        path.write_bytes(kept)
    found.plain()
    assert record.bound is not None and record.bound.seconds < 5e-3
    assert record.status == "invalid", "the work is still overstated a hundredfold"
