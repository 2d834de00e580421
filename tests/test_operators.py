"""The operators: their work against their own tensors at every production shape, their references against plain Python."""

import math
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import CHEATS, CONTRADICTIONS, MATRIX, NEEDED, SMALL, SPOIL, Cheat
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pytest_dsbench import providers, trial
from pytest_dsbench.check import Wrong, compare, named
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import _rows, attention_forward, find
from pytest_dsbench.shapes import Case, load
from pytest_dsbench.tensors import make, torch_dtype
from pytest_dsbench.units import nbytes

ROOT = Path(__file__).parent.parent
SHAPES = load([ROOT / "shapes", ROOT / "models"], ROOT)
CASES = SHAPES.cases


def small(name: str, dims: dict[str, Any]) -> Operator:
    return find(name).build(dims)


def results(op: Operator, values: Any) -> dict[str, Tensor]:
    given = list(values) if isinstance(values, tuple) else [values]
    return dict(zip(op.outputs(), given, strict=True))


def row(values: Tensor) -> list[float]:
    return [float(value) for value in values.double()]


def as_bf16(value: float) -> float:
    """Rounds a fp32 value to bf16, to nearest even, by its bits."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    (rounded,) = struct.unpack("<f", struct.pack("<I", bits))
    return float(rounded)


def e4m3(code: int, bias: int) -> float:
    """The value of an fp8 code with four bits of exponent and three of mantissa."""
    exponent, mantissa = code >> 3 & 15, code & 7
    size = mantissa * 2.0 ** (-2 - bias) if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - bias)
    return -size if code & 128 else size


def test_all_published_shapes_are_there() -> None:
    assert not SHAPES.broken
    assert len([case for case in CASES if case.provenance.id is not None]) == 440


def matrix_flop(op: Operator) -> int:
    return sum(count for unit, count in op.work().flop.items() if unit != "fp32")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op.name}-{case.label}")
def test_work_is_what_the_tensors_and_the_reference_say(case: Case) -> None:
    op = case.op
    inputs, outputs, work = make(op, "meta"), op.outputs(), op.work()
    if op.name in NEEDED:
        assert NEEDED[op.name](op, inputs) == (work.read, work.written)
    else:
        assert sum(value.numel() * value.itemsize for value in inputs.values()) == work.read
        assert sum(spec.nbytes for spec in outputs.values()) == work.written
    if op.name in MATRIX:
        assert MATRIX[op.name](op) == matrix_flop(op)
        return
    with FlopCounterMode(display=False) as counter:
        right = results(op, op.reference(**inputs))
    assert {name: tuple(value.shape) for name, value in right.items()} == {name: spec.shape for name, spec in outputs.items()}
    assert counter.get_total_flops() == matrix_flop(op)


@pytest.mark.parametrize(("name", "dims"), SMALL)
@pytest.mark.parametrize("recipe", ["random", "zeros", "huge_channel"])
def test_torch_agrees_with_the_reference(name: str, dims: dict[str, Any], recipe: Any) -> None:
    providers.load()
    op = small(name, dims)
    if recipe not in ("random", *op.edges):
        pytest.skip(f"{name} is not checked on {recipe}")
    inputs = make(op, "cpu", recipe=recipe)
    before = {key: value.clone() for key, value in inputs.items()}
    launch = op.providers["torch"].prepare(op, **inputs)
    want = results(op, op.reference(**inputs))
    compare(op, inputs, named(launch(), op.outputs(), "cpu"), want)
    for key, value in inputs.items():
        if key not in op.providers["torch"].inplace:
            assert torch.equal(value.view(torch.uint8), before[key].view(torch.uint8))


@pytest.mark.parametrize(("name", "dims"), SMALL)
def test_torch_passes_the_rounds_of_the_harness(name: str, dims: dict[str, Any]) -> None:
    """Watched, poisoned, between guard bytes, with contents that change under the launch, and at the edges."""
    providers.load()
    op = small(name, dims)
    contents = [trial.content(op, "cpu", 0)]
    contents.append(trial.content(op, "cpu", 1, base=contents[0]))
    with torch.no_grad():
        trial.run(op, op.providers["torch"], contents, trial.edge_contents(op, "cpu", contents[0]), "cpu")


Outputs = dict[str, Tensor]


def right_outputs(op: Operator) -> tuple[Outputs, Outputs, Outputs]:
    """Inputs, the reference's outputs, and those rounded as a right kernel would return them."""
    inputs = make(op, "cpu")
    want = results(op, op.reference(**{key: value.clone() for key, value in inputs.items()}))
    return inputs, want, {key: want[key].to(torch_dtype(spec.dtype)) for key, spec in op.outputs().items()}


def is_refused(op: Operator, inputs: Outputs, got: Outputs, want: Outputs) -> None:
    with pytest.raises(Wrong):
        compare(op, inputs, named(tuple(got.values()), op.outputs(), "cpu"), want)


def test_every_operator_has_small_sizes() -> None:
    assert {name for name, _ in SMALL} == {case.op.name for case in CASES}


@pytest.mark.parametrize(("name", "dims"), SMALL)
def test_what_is_right_passes_and_zeros_do_not(name: str, dims: dict[str, Any]) -> None:
    op = small(name, dims)
    inputs, want, got = right_outputs(op)
    compare(op, inputs, named(tuple(got.values()), op.outputs(), "cpu"), want)
    for key, value in got.items():
        if value.double().count_nonzero():
            is_refused(op, inputs, {**got, key: torch.zeros_like(value)}, want)


@pytest.mark.parametrize(("name", "dims"), SMALL)
def test_six_tenths_of_what_is_right_is_wrong(name: str, dims: dict[str, Any]) -> None:
    op = small(name, dims)
    inputs, want, got = right_outputs(op)
    for key, value in got.items():
        shrunk = (value.double() * 0.6).to(value.dtype)
        if not torch.equal(shrunk.double(), value.double()):
            is_refused(op, inputs, {**got, key: shrunk}, want)


@pytest.mark.parametrize(("name", "dims"), SMALL)
def test_one_wrong_element_in_the_last_row_is_found(name: str, dims: dict[str, Any]) -> None:
    op = small(name, dims)
    inputs, want, got = right_outputs(op)
    if name in SPOIL:
        got = {key: value.clone() for key, value in got.items()}
        SPOIL[name](op, got)
        is_refused(op, inputs, got, want)
        return
    for key, value in got.items():
        spoilt = value.clone()
        last = spoilt.view(-1, value.shape[-1])[-1]
        # Its size is that of its row: an element too small to matter is not what is looked for.
        at = int(last.double().abs().argmax())
        last[at] = (-last[at].double() if last.dtype.is_floating_point else last[at] + 1).to(last.dtype)
        is_refused(op, inputs, {**got, key: spoilt}, want)


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: f"{cheat.operator}-{cheat.what}")
def test_cheats_are_refused(cheat: Cheat) -> None:
    op = small(cheat.operator, cheat.dims)
    inputs, want, got = right_outputs(op)
    compare(op, inputs, named(tuple(got.values()), op.outputs(), "cpu"), want)
    cheated = {**got, **cheat.outputs(op, inputs, want)}
    is_refused(op, inputs, {key: value.to(got[key].dtype) for key, value in cheated.items()}, want)


def test_rms_norm_by_hand() -> None:
    op = small("rms_norm", {"tokens": 3, "hidden": 9})
    inputs = make(op, "cpu")
    x, weight = row(inputs["x"][1]), row(inputs["weight"])
    scale = 1 / math.sqrt(sum(value * value for value in x) / 9 + 1e-6)
    assert row(op.reference(**inputs)[1]) == pytest.approx([a * scale * w for a, w in zip(x, weight, strict=True)], rel=1e-12)


def test_fused_add_rms_norm_by_hand() -> None:
    op = small("fused_add_rms_norm", {"tokens": 3, "hidden": 9})
    inputs = make(op, "cpu")
    total = [as_bf16(a + b) for a, b in zip(row(inputs["x"][1]), row(inputs["residual"][1]), strict=True)]
    scale = 1 / math.sqrt(sum(value * value for value in total) / 9 + 1e-6)
    out, residual = op.reference(**inputs)
    assert row(residual[1]) == total
    assert row(out[1]) == pytest.approx([a * scale * w for a, w in zip(total, row(inputs["weight"]), strict=True)], rel=1e-12)


def test_silu_and_mul_by_hand() -> None:
    op = small("silu_and_mul", {"tokens": 3, "hidden": 5})
    inputs = make(op, "cpu")
    x = row(inputs["x"][2])
    right = [gate / (1 + math.exp(-gate)) * up for gate, up in zip(x[:5], x[5:], strict=True)]
    assert row(op.reference(**inputs)[2]) == pytest.approx(right, rel=1e-12)


def test_layer_norm_by_hand() -> None:
    op = small("layer_norm", {"tokens": 3, "hidden": 9})
    inputs = make(op, "cpu")
    x, weight, bias = row(inputs["x"][1]), row(inputs["weight"]), row(inputs["bias"])
    mean = sum(x) / 9
    scale = 1 / math.sqrt(sum((value - mean) ** 2 for value in x) / 9 + 1e-5)
    right = [(a - mean) * scale * w + b for a, w, b in zip(x, weight, bias, strict=True)]
    assert row(op.reference(**inputs)[1]) == pytest.approx(right, rel=1e-12)


def test_moe_topk_gating_softmax_by_hand() -> None:
    op = small("moe_topk_gating_softmax", {"tokens": 3, "experts": 11, "top_k": 4})
    inputs = make(op, "cpu")
    logits = row(inputs["gating_output"][1])
    total = sum(math.exp(value) for value in logits)
    best = sorted(((math.exp(value) / total, index) for index, value in enumerate(logits)), reverse=True)[:4]
    weights, ids = op.reference(**inputs)
    assert ids[1].tolist() == [index for _, index in best]
    assert row(weights[1]) == pytest.approx([share for share, _ in best], rel=1e-12)


@pytest.mark.parametrize(("fp8", "bias", "codes", "largest"), [("fp8_e4m3", 7, 127, 448.0), ("fp8_e4m3fnuz", 8, 128, 240.0)])
def test_fp8_dynamic_per_token_quant_by_hand(fp8: str, bias: int, codes: int, largest: float) -> None:
    op = small("fp8_dynamic_per_token_quant", {"tokens": 4, "hidden": 200, "fp8": fp8})
    inputs = make(op, "cpu")
    q, scale = op.reference(**inputs)
    assert max(e4m3(code, bias) for code in range(codes)) == largest
    for token in range(4):
        x = row(inputs["x"][token])
        right = max(abs(value) for value in x) / largest
        assert float(scale[token]) == pytest.approx(right, rel=1e-7)
        for value, code in zip(x, q[token].view(torch.uint8).tolist(), strict=True):
            # The nearest value; of two as near as each other, the one whose last bit is zero.
            best = min(range(codes), key=lambda c: (abs(e4m3(c, bias) - abs(value) / right), c & 1))
            assert abs(e4m3(code, bias)) == pytest.approx(e4m3(best, bias), rel=1e-12) and (code > 127) == (value < 0)


def test_a_row_of_zeros_quantises_to_zeros() -> None:
    op = small("fp8_dynamic_per_token_quant", {"tokens": 2, "hidden": 8})
    q, scale = op.reference(torch.zeros(2, 8, dtype=torch.bfloat16))
    assert not q.view(torch.uint8).any() and bool((scale > 0).all())


@pytest.mark.parametrize("n", [8, 6])
def test_block_scaled_mm_by_hand(n: int) -> None:
    """Also with a last block of the weight that is cut."""
    op = small("block_scaled_mm", {"m": 3, "n": n, "k": 12, "group_n": 4, "group_k": 6})
    inputs = make(op, "cpu")
    a, b = ([[e4m3(code, 7) for code in line] for line in inputs[key].view(torch.uint8).tolist()] for key in ("a", "b"))
    a_scales, b_scales = inputs["a_scales"].tolist(), inputs["b_scales"].tolist()
    assert len(b_scales) == 2
    out = op.reference(**inputs)
    for i in range(3):
        for j in range(n):
            right = sum(a[i][k] * a_scales[i][k // 6] * b[j][k] * b_scales[j // 4][k // 6] for k in range(12))
            assert float(out[i, j]) == pytest.approx(right, rel=1e-5, abs=1e-6)


def test_attention_forward_by_hand() -> None:
    op = small("attention_forward", {"heads": 2, "head_dim": 3, "seq_lens": [2, 4]})
    inputs = make(op, "cpu")
    q, k, v = (inputs[key].double() for key in "qkv")
    assert inputs["cu_seqlens_q"].tolist() == inputs["cu_seqlens_k"].tolist() == [0, 2, 6]
    out = op.reference(**inputs)
    for query, keys in ((1, range(2)), (3, range(2, 6))):
        for head in range(2):
            scores = [sum(float(q[query, head, d] * k[key, head, d]) for d in range(3)) / math.sqrt(3) for key in keys]
            total = sum(math.exp(score) for score in scores)
            for d in range(3):
                right = sum(math.exp(s) / total * float(v[key, head, d]) for s, key in zip(scores, keys, strict=True))
                assert float(out[query, head, d]) == pytest.approx(right, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("name", "dims"), SMALL)
def test_chunks_change_nothing(name: str, dims: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    op = small(name, dims)
    inputs = make(op, "cpu")
    whole = results(op, op.reference(**inputs))
    monkeypatch.setattr(_rows, "_CHUNK", 300)
    monkeypatch.setattr(attention_forward, "_CHUNK", 3000)
    for key, value in results(op, op.reference(**inputs)).items():
        error, size = float((value.double() - whole[key].double()).norm()), float(whole[key].double().norm())
        # Where an output has infinities, only equality says anything.
        assert error <= 1e-6 * size or torch.equal(value.double(), whole[key].double())
        assert value.dtype == whole[key].dtype


def gating() -> tuple[Operator, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    op = small("moe_topk_gating_softmax", {"tokens": 2, "experts": 4, "top_k": 2})
    inputs = {"gating_output": torch.tensor([[1.0, 3.0, 3.0, 0.0], [4.0, 3.0, 2.0, 1.0]])}
    want = results(op, op.reference(**inputs))
    return op, inputs, want, {"topk_weights": want["topk_weights"].float(), "topk_ids": want["topk_ids"].clone()}


def test_equal_experts_may_come_in_either_order() -> None:
    op, inputs, want, got = gating()
    got["topk_ids"][0] = got["topk_ids"][0].flip(0)
    assert op.flaw(inputs, got, want) is None


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([1, 0], r"topk_ids\[1, 0\] is expert 1 of probability 0.23\d+; expected expert 0"),
        ([0, 2], r"topk_ids\[1, 1\] is expert 2 .* expected expert 1"),
        ([0, 0], r"topk_ids\[1\] names expert 0 twice"),
        ([0, 4], r"topk_ids\[1, 1\] is 4; expected 0 to 3"),
        ([-1, 0], r"topk_ids\[1, 0\] is -1; expected 0 to 3"),
    ],
)
def test_wrong_experts_are_named(ids: list[int], sentence: str) -> None:
    op, inputs, want, got = gating()
    got["topk_ids"][1] = torch.tensor(ids)
    flaw = op.flaw(inputs, got, want)
    assert flaw is not None
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(flaw)


@pytest.mark.parametrize(("name", "dims", "sentence"), CONTRADICTIONS)
def test_contradictions(name: str, dims: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Mistake, match=sentence):
        small(name, dims)


@pytest.mark.parametrize("recipe", ["random", "huge_channel", "zeros"])
@pytest.mark.parametrize("fp8", ["fp8_e4m3", "fp8_e4m3fnuz"])
def test_quantised_inputs_use_the_whole_range_of_their_codes(recipe: Any, fp8: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_dsbench import tensors

    # Blocks far smaller than the tensor, so that the draw is repeated and the rows come in several pieces.
    monkeypatch.setattr(tensors, "_BLOCK", 1009)
    codes, scales = tensors.Maker(1, "cpu", recipe).quantised((2, 64, 96), fp8, (16, 32))
    assert scales.shape == (2, 4, 3) and bool((scales > 0).all())
    largest = codes.float().view(2, 4, 16, 3, 32).abs().amax((2, 4))
    assert bool((largest == (0 if recipe == "zeros" else torch.finfo(codes.dtype).max)).all())
    if recipe == "random":
        values = codes.float() * scales.repeat_interleave(16, 1).repeat_interleave(32, 2)
        assert abs(float(values.mean())) < 0.05 and abs(float(values.std()) - 1) < 0.05
        assert not torch.equal(values[0, 0], values[0, 1])
    assert codes.numel() * codes.itemsize == nbytes(fp8, 2 * 64 * 96)
