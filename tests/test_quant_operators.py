"""Quantisation against plain Python, and which roundings of a kernel pass."""

import math
from typing import Any

import pytest
import torch
from test_operators import as_bf16, e4m3, results, row, small
from torch import Tensor

from pytest_dsbench.check import Wrong, compare
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import per_token_group_quant_fp8
from pytest_dsbench.tensors import make, torch_dtype

#: fp8, its bias, how many codes are not negative, and the largest of them.
ENCODINGS = [("fp8_e4m3", 7, 127, 448.0), ("fp8_e4m3fnuz", 8, 128, 240.0)]
each_encoding = pytest.mark.parametrize(("fp8", "bias", "codes", "largest"), ENCODINGS)
each_fp8 = pytest.mark.parametrize("fp8", [fp8 for fp8, *_ in ENCODINGS])


def nearest(value: float, bias: int, codes: int) -> float:
    """The fp8 value nearest to `value`; of two as near as each other, the one whose last bit is zero."""
    best = min(range(codes), key=lambda code: (abs(e4m3(code, bias) - abs(value)), code & 1))
    return math.copysign(e4m3(best, bias), value)


@each_encoding
def test_per_token_group_quant_fp8_by_hand(fp8: str, bias: int, codes: int, largest: float) -> None:
    op = small("per_token_group_quant_fp8", {"tokens": 2, "hidden": 99, "group": 33, "fp8": fp8})
    inputs = make(op, "cpu")
    q, scale = op.reference(**inputs)
    for token in range(2):
        for group in range(3):
            x = row(inputs["x"][token, 33 * group : 33 * group + 33])
            right = max(abs(value) for value in x) / largest
            assert float(scale[token, group]) == pytest.approx(right, rel=1e-7)
            found = row(q[token, 33 * group : 33 * group + 33].float())
            assert found == [nearest(value / right, bias, codes) for value in x]


@each_fp8
def test_a_group_of_zeros_has_the_smallest_scale(fp8: str) -> None:
    op = small("per_token_group_quant_fp8", {"tokens": 1, "hidden": 256, "fp8": fp8})
    x = torch.zeros(1, 256, dtype=torch.bfloat16)
    x[0, 200] = -3
    q, scale = op.reference(x)
    assert scale[0].tolist() == pytest.approx([1e-10, 3 / torch.finfo(q.dtype).max], rel=1e-6)
    assert not q[0, :128].float().any() and float(q[0, 200].float()) == -torch.finfo(q.dtype).max


def test_chunks_of_rows_change_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    op = small("per_token_group_quant_fp8", {"tokens": 11, "hidden": 256})
    inputs = make(op, "cpu")
    q, scale = op.reference(**inputs)
    monkeypatch.setattr(per_token_group_quant_fp8, "_CHUNK", 600)
    again, scale_again = op.reference(**inputs)
    assert torch.equal(again.view(torch.uint8), q.view(torch.uint8)) and torch.equal(scale_again, scale)


@each_fp8
@pytest.mark.parametrize("groups", [1, 2, 16, 64])
def test_a_kernel_may_multiply_by_the_reciprocal(fp8: str, groups: int) -> None:
    op: Any = small("per_token_group_quant_fp8", {"tokens": groups, "hidden": 128, "fp8": fp8})
    dtype, differ = torch_dtype(fp8), False
    for content in range(200):
        inputs = make(op, "cpu", content)
        want = results(op, op.reference(**inputs))
        codes = (inputs["x"].float() * want["scale"].reciprocal()).to(dtype)
        found = compare(op, inputs, {"q": codes, "scale": want["scale"]}, want)
        differ = differ or found["q"].worst > 0
    assert differ


def roundings(op: Any, inputs: dict[str, Tensor], total: Tensor) -> dict[str, Tensor]:
    """n as kernels compute it: never rounded, rounded once, or before and after its weight."""
    wide, weight, dtype = total.double(), inputs["weight"], total.dtype
    norm = wide * (wide.square().mean(-1, keepdim=True) + op.eps).rsqrt()
    return {
        "never": (norm * weight.double()).float(),
        "once": (norm * weight.double()).to(dtype).float(),
        "twice": (norm.to(dtype) * weight).float(),
    }


def quantised(normed: Tensor, fp8: str) -> tuple[Tensor, Tensor]:
    largest = torch.finfo(torch_dtype(fp8)).max
    scale = normed.abs().amax(-1) / largest
    return (normed / scale[:, None]).clamp(-largest, largest).to(torch_dtype(fp8)), scale


@each_encoding
def test_fused_rmsnorm_quant_by_hand(fp8: str, bias: int, codes: int, largest: float) -> None:
    op = small("fused_rmsnorm_quant", {"tokens": 2, "hidden": 40, "fp8": fp8})
    inputs = make(op, "cpu")
    q, scale, residual = op.reference(**inputs)
    for token in range(2):
        x, before, weight = (row(values) for values in (inputs["x"][token], inputs["residual"][token], inputs["weight"]))
        total = [as_bf16(a + b) for a, b in zip(x, before, strict=True)]
        assert row(residual[token]) == total
        size = math.sqrt(sum(value * value for value in total) / 40 + 1e-5)
        normed = [value / size * w for value, w in zip(total, weight, strict=True)]
        right = max(abs(value) for value in normed) / largest
        assert float(scale[token]) == pytest.approx(right, rel=1e-12)
        assert row(q[token]) == pytest.approx([value / right for value in normed], rel=1e-6)
        assert row(q[token].to(torch_dtype(fp8)).float()) == [nearest(value / right, bias, codes) for value in normed]


@each_fp8
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("tokens", [1, 300])
def test_a_kernel_may_round_n_never_once_or_twice(fp8: str, dtype: str, tokens: int) -> None:
    op: Any = small("fused_rmsnorm_quant", {"tokens": tokens, "hidden": 1000, "dtype": dtype, "fp8": fp8})
    for content in range(3):
        inputs = make(op, "cpu", content)
        want = results(op, op.reference(**inputs))
        for normed in roundings(op, inputs, want["residual"]).values():
            q, scale = quantised(normed, fp8)
            compare(op, inputs, {"q": q, "scale": scale, "residual": want["residual"]}, want)


def rmsnorm_quant(fp8: str = "fp8_e4m3") -> tuple[Operator, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    op = small("fused_rmsnorm_quant", {"tokens": 3, "hidden": 64, "fp8": fp8})
    inputs = make(op, "cpu")
    want = results(op, op.reference(**inputs))
    return op, inputs, want, {**want, "q": want["q"].to(torch_dtype(fp8))}


@each_fp8
def test_a_row_of_zeros_has_a_scale_of_one(fp8: str) -> None:
    op = small("fused_rmsnorm_quant", {"tokens": 2, "hidden": 8, "fp8": fp8})
    x = torch.zeros(2, 8, dtype=torch.bfloat16)
    q, scale, residual = op.reference(x=x, residual=x, weight=torch.ones(8, dtype=torch.bfloat16))
    assert scale.tolist() == [1, 1] and not q.any() and not residual.any()


@each_fp8
def test_codes_of_the_next_value_are_wrong(fp8: str) -> None:
    op, inputs, want, got = rmsnorm_quant(fp8)
    assert op.flaw(inputs, got, want) is None
    # A quotient in the middle between two roundings has one right code.
    exact = (want["q"] - got["q"].float()).abs() / want["q"].abs()
    at = int(exact[2].where(want["q"][2].abs() > 1, math.inf).argmin())
    for step in (1, -1):
        codes = got["q"].clone()
        codes.view(torch.uint8)[2, at] += step
        found = op.flaw(inputs, {**got, "q": codes}, want)
        value, right = float(codes[2, at].float()), float(got["q"][2, at].float())
        assert (
            found
            == f"output 'q' is wrong: {value:g} at [2, {at}]; expected {right:g} to {right:g} with the scale that was returned"
        )


def test_a_code_that_is_no_number_is_wrong() -> None:
    op, inputs, want, got = rmsnorm_quant()
    got["q"].view(torch.uint8)[1, 5] = 0x7F
    found = op.flaw(inputs, got, want)
    assert found is not None and found.startswith("output 'q' is wrong: nan at [1, 5]; expected")


def test_codes_are_those_of_the_scale_that_is_returned() -> None:
    op, inputs, want, got = rmsnorm_quant()
    scale = want["scale"] * (1 + 2**-9)
    codes = (want["q"] * (1 - 2**-9)).to(torch.float8_e4m3fn)
    compare(op, inputs, {**got, "q": codes, "scale": scale.float()}, want)
    with pytest.raises(Wrong, match="output 'scale' is wrong"):
        compare(op, inputs, {**got, "scale": (want["scale"] * 1.02).float()}, want)
