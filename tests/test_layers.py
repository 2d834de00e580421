"""Layers: sums by hand over made-up times, what is missing and what cannot be, and the command."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_runs import HEADER

from pytest_dsbench import layers, modelfile, runs
from pytest_dsbench.__main__ import main
from pytest_dsbench.hardware import named
from pytest_dsbench.layers import Layer
from pytest_dsbench.measurement import Measurement, planned
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.model import Model
from pytest_dsbench.roofline import bound
from pytest_dsbench.shapes import Case, bundled, load
from pytest_dsbench.stats import Estimate

ROOT = Path(__file__).parent.parent
GB200, H200 = named("gb200"), named("h200")
TINY = """
model = "tiny"
title = "Tiny"
source = "made up"
omitted = ["the head"]
constants = { hidden = 256 }
derived = { tokens = "= batch * sequence" }
layers = { dense = 1, moe = 3 }
phase = [{ name = "decode", batch = [1, 4], sequence = [1], context = [8] }]

[[op]]
name = "norm"
operator = "rms_norm"
category = "norm"
dims = { tokens = "= tokens", hidden = "= hidden" }

[[op]]
name = "mlp"
operator = "silu_and_mul"
category = "act"
layers = ["dense"]
dims = { tokens = "= tokens", hidden = 64 }

[[op]]
name = "experts.sum"
operator = "moe_sum_reduce"
category = "sum"
layers = ["moe"]
dims = { tokens = "= tokens", top_k = 2, hidden = "= hidden" }

[[op]]
name = "fused"
operator = "l2_norm"
category = "x"
layers = ["moe"]
instead_of = "experts"
dims = { tokens = "= tokens", hidden = 8 }
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Model:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return modelfile.load(path)


def measured(model: Model, times: dict[str, float], batch: int = 1, **fields: Any) -> list[Measurement]:
    """Passed cases of some ops at one batch, by name, in seconds."""
    (point,) = [one for one in model.points(model.phase[0]) if one.batch == batch]
    wanted = {model.build(op, point): times[op.name] for op in model.op if op.name in times}
    return [one(case, wanted[case.op], **fields) for case in cases() if case.op in wanted]


def cases() -> list[Case]:
    """Of the tiny model."""
    return [case for case in modelfile.read(TINY, tomllib.loads(TINY), "tiny.toml", "fp8_e4m3") if isinstance(case, Case)]


def one(case: Case, seconds: float, provider: str = "torch", status: Any = "passed", **fields: Any) -> Measurement:
    limit = bound(case.op.work(), GB200)
    return Measurement(
        case=planned(case, provider),
        status=status,
        work=case.op.work(),
        bound=limit,
        time=Estimate(median=seconds, low=seconds, high=seconds, n=9, stopped_by="precision"),
        efficiency=limit.seconds / seconds,
        cold=fields.pop("cold", True),
        **fields,
    )


ALL = {"norm": 4e-6, "mlp": 2e-6, "experts.sum": 10e-6, "fused": 3e-6}


def at(found: list[Layer], batch: int) -> Layer:
    (layer,) = [layer for layer in found if layer.point.batch == batch]
    return layer


def test_sums_by_hand(tiny: Model) -> None:
    layer = at(layers.from_run(tiny, measured(tiny, ALL), GB200), 1)
    assert layer.total("dense").seconds == pytest.approx(6e-6) and layer.total("moe").seconds == pytest.approx(14e-6)
    whole = layer.all_layers()
    assert whole.complete and (whole.measured, whole.rows) == (3, 3)
    assert whole.seconds == pytest.approx(6e-6 + 3 * 14e-6)
    assert layer.tokens_per_second() == pytest.approx(1 / 48e-6)
    assert [row.counted for row in layer.rows] == [True, True, True, False]


def test_what_is_missing_is_named_and_never_nothing(tiny: Model) -> None:
    found = layers.from_run(tiny, measured(tiny, {"norm": 4e-6, "mlp": 2e-6}), GB200)
    layer = at(found, 1)
    total = layer.total("moe")
    assert not total.complete and total.missing == ("experts.sum",) and total.seconds == pytest.approx(4e-6)
    assert layer.total("dense").complete
    assert layer.all_layers().missing == ("experts.sum",) and layer.tokens_per_second() is None
    assert [row.gap for row in layer.rows] == [None, None, "not in the run", "not in the run"]
    # Of the other batch nothing was measured: no op of it has a time.
    assert at(found, 4).all_layers().measured == 0


def test_the_fastest_provider_counts_unless_one_is_asked_for(tiny: Model) -> None:
    both = measured(tiny, ALL) + measured(tiny, {"norm": 3e-6}, provider="triton")
    norm = at(layers.from_run(tiny, both, GB200), 1).rows[0]
    assert (norm.provider, norm.seconds) == ("triton", 3e-6)
    alone = at(layers.from_run(tiny, both, GB200, "torch"), 1).rows[0]
    assert (alone.provider, alone.seconds) == ("torch", 4e-6)
    with pytest.raises(Mistake, match="--provider: unknown provider of this run 'trtion'; did you mean 'triton'"):
        layers.from_run(tiny, both, GB200, "trtion")


@pytest.mark.parametrize(
    ("fields", "gap"),
    [
        ({"status": "skipped", "reason": "memory over the budget"}, "torch: skipped, memory over the budget"),
        ({"status": "failed", "reason": "wrong"}, "torch: failed, wrong"),
        ({"status": "noisy_host"}, "torch: noisy_host"),
        ({"status": "not_run", "reason": "after a crash"}, "torch: not_run, after a crash"),
    ],
)
def test_only_times_that_can_be_trusted_count(tiny: Model, fields: dict[str, Any], gap: str) -> None:
    (norm, *_) = at(layers.from_run(tiny, measured(tiny, {"norm": 4e-6}, **fields), GB200), 1).rows
    assert norm.seconds is None and norm.gap == gap and not norm.errors


def test_faster_than_light_is_an_error_and_counts_nowhere(tiny: Model) -> None:
    (case, *_) = cases()
    limit = bound(case.op.work(), GB200).seconds
    fast = one(case, limit / 20.94)
    (norm, *_) = at(layers.from_run(tiny, [fast], GB200), 1).rows
    assert norm.seconds is None and norm.gap == "torch: faster than light"
    assert norm.errors == (f"{fast.case.name}: 2094.0% of peak, which no device reaches; the time counts nowhere",)
    (beside, *_) = at(layers.from_run(tiny, [fast, one(case, 2 * limit, "triton")], GB200), 1).rows
    assert (beside.provider, beside.share_of_peak) == ("triton", pytest.approx(0.5)) and beside.errors


def test_a_warm_time_counts_where_there_is_no_other_and_has_no_share_of_the_peak(tiny: Model) -> None:
    (case, *_) = cases()
    limit = bound(case.op.work(), GB200).seconds
    warm = one(case, limit / 3, cold=False)
    (norm, *_) = at(layers.from_run(tiny, [warm], GB200), 1).rows
    assert norm.warm and norm.seconds == limit / 3 and norm.share_of_peak is None and not norm.errors
    (norm, *_) = at(layers.from_run(tiny, [warm, one(case, 2 * limit, "triton")], GB200), 1).rows
    assert not norm.warm and norm.provider == "triton"


def test_the_share_of_the_peak_is_that_of_the_run_whose_roof_was_raised(tiny: Model) -> None:
    """The header has the roof of the beginning: held against that, a time could be above its peak."""
    (case, *_) = cases()
    limit = bound(case.op.work(), GB200).seconds
    low = GB200.replace(bandwidth=GB200.bandwidth / 4)
    (norm, *_) = at(layers.from_run(tiny, [one(case, 2 * limit)], low), 1).rows
    assert norm.share_of_peak == pytest.approx(0.5) and not norm.errors


def test_exactly_at_the_peak_is_no_error(tiny: Model) -> None:
    (case, *_) = cases()
    (norm, *_) = at(layers.from_run(tiny, [one(case, bound(case.op.work(), GB200).seconds)], GB200), 1).rows
    assert norm.share_of_peak == 1.0 and not norm.errors


@pytest.mark.parametrize("sheet", ["gb200", "b200", "h20"])
def test_bounds_are_the_roofline_of_every_op(sheet: str) -> None:
    model, hardware = modelfile.named("qwen3_8b", bundled()), named(sheet)
    for layer in layers.from_bounds(model, hardware):
        assert [row.seconds for row in layer.rows] == [bound(row.operator.work(), hardware).seconds for row in layer.rows]
        assert layer.all_layers().seconds == pytest.approx(36 * sum(row.seconds or 0 for row in layer.rows))


def test_a_unit_that_the_device_lacks_is_a_gap_of_the_bounds() -> None:
    (layer, *_) = layers.from_bounds(modelfile.named("deepseek_r1", bundled()), H200)
    missing = layer.all_layers().missing
    assert "o_proj" in missing and "input_layernorm" not in missing
    (row,) = [row for row in layer.rows if row.op.name == "o_proj"]
    assert row.gap is not None and "fp4" in row.gap


Dsbench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dsbench(capsys: pytest.CaptureFixture[str]) -> Dsbench:
    def running(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return running


def run_file(folder: Path, found: list[Measurement]) -> Path:
    writer = runs.Writer(folder, HEADER.replace(hardware=GB200))
    for one_ in found:
        writer.append(one_)
    writer.close()
    return writer.path


def test_the_command_shows_a_run(tiny: Model, tmp_path: Path, dsbench: Dsbench) -> None:
    path = run_file(tmp_path / "runs", measured(tiny, ALL) + measured(tiny, {"norm": 5e-6, "mlp": 1e-6}, batch=4))
    code, out, err = dsbench("layer", str(path), "--model", str(tmp_path / "tiny.toml"))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "Tiny, decode, B=1 S=1 context 8" in lines
    assert next(line.split()[:4] for line in lines if " norm " in line) == ["rms_norm", "norm", "torch", "0.004000"]
    assert "dense layer: 0.006000 ms (x 1)" in lines and "moe layer: 0.014000 ms (x 3)" in lines
    assert "all 4 layers: 0.048000 ms; 20,833 tokens/s" in lines
    assert "moe layer: more than 0.005000 ms, 1 of 2 ops, without experts.sum (x 3)" in lines
    assert "gap: experts.sum: not in the run" in lines
    assert "decode: batch scaling" in lines
    assert [line.split() for line in lines if line.endswith("of 3")] == [
        ["1", "1", "8", "0.006000", "0.014000", "0.048000", "20,833", "3", "of", "3"],
        ["4", "1", "8", "0.006000", ">", "0.005000", ">", "0.021000", "-", "2", "of", "3"],
    ]
    assert "in no total: the head" in lines
    assert "bound" not in out


def test_a_time_beyond_the_peak_fails_the_command(tiny: Model, tmp_path: Path, dsbench: Dsbench) -> None:
    path = run_file(tmp_path / "runs", measured(tiny, {**ALL, "norm": 1e-15}))
    code, out, _ = dsbench("layer", str(path), "--model", str(tmp_path / "tiny.toml"))
    assert code == 1 and "error: rms_norm[tokens1-hidden256] torch: " in out and "which no device reaches" in out


def test_bounds_are_marked_as_such_for_any_sheet(dsbench: Dsbench) -> None:
    point = ("--phase", "decode", "--batch", "8", "--context", "1024")
    code, out, _ = dsbench("layer", "--model", "deepseek_r1", "--hw", "gb200", *point)
    lines = out.splitlines()
    assert code == 0
    (title,) = [line for line in lines if line.startswith("DeepSeek-R1")]
    assert title == "DeepSeek-R1, NVFP4, one GPU, decode, B=8 S=1 context 1024: bounds (T_SOL), not measurements"
    assert "decode: batch and context scaling, bounds (T_SOL)" in lines and "prefill" not in out
    (row,) = [line.split() for line in lines if " attn_mqa " in line]
    assert row[0] == "cutlass_mla_decode" and row[-2:] == ["bound", "attention"]
    assert any(line.startswith("all 61 layers: ") and line.endswith(" tokens/s at most") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "deepseek_r1"], "layer: expected a run file or --hw"),
        (["--hw", "gb200"], "layer: expected --model and one of deepseek_r1, qwen3_8b, or the path of a .toml file"),
        (["run.jsonl", "--model", "deepseek_r1", "--hw", "gb200"], "layer: expected a run file or --hw"),
        (["--model", "deepsek_r1", "--hw", "gb200"], "unknown model 'deepsek_r1'; did you mean 'deepseek_r1'? known: "),
        (["--model", "qwen3_8b", "--hw", "gb20"], "unknown GPU 'gb20'; did you mean 'gb200'?"),
        (["--model", "qwen3_8b", "--hw", "gb200", "--phase", "decod"], "--phase: unknown phase 'decod'; did you mean 'decode'?"),
        (["--model", "qwen3_8b", "--hw", "gb200", "--batch", "3"], "--batch: no point of the model has 3; known: 1, 8, 32, 128"),
        (["--model", "qwen3_8b", "--hw", "gb200", "--provider", "torch"], "layer: --provider chooses among the times of a run"),
        (["none.jsonl", "--model", "qwen3_8b"], "none.jsonl: no such run file"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str, dsbench: Dsbench) -> None:
    code, out, err = dsbench("layer", *arguments)
    assert (code, out) == (2, "") and err.startswith(f"dsbench: {sentence}") and err.count("\n") == 1


def test_the_model_of_a_run_is_the_one_that_its_cases_come_from() -> None:
    """Cases that pytest would run are those that the roll-up looks for."""
    model = modelfile.named("deepseek_r1", bundled())
    tagged = [case for case in load(bundled()).cases if "deepseek_r1" in case.tags]
    found = layers.from_run(model, [one(case, 1e-3) for case in tagged], GB200)
    assert all(layer.all_layers().complete for layer in found)
