"""Dense products against plain Python, against their parts, and against kernels that read a weight the wrong way."""

from typing import Any

import pytest
import torch
from libraries.sgl_kernel_routing import bmm_fp8
from test_operators import e4m3, results, row, small
from torch import Tensor

from pytest_dsbench.check import Wrong, compare
from pytest_dsbench.tensors import make


def dot(left: Tensor, right: Tensor) -> float:
    return sum(a * b for a, b in zip(row(left), row(right), strict=True))


@pytest.mark.parametrize(
    ("name", "dims", "operands"),
    [
        ("matmul", {"m": 4, "n": 3, "k": 11}, ("a", "weight")),
        ("matmul", {"m": 4, "n": 3, "k": 11, "dtype": "fp16"}, ("a", "weight")),
        ("dsv3_router_gemm", {"tokens": 4, "hidden": 11, "experts": 3}, ("hidden_states", "router_weights")),
        (
            "dsv3_fused_a_gemm",
            {"tokens": 4, "hidden": 11, "q_lora_rank": 3, "kv_lora_rank": 2, "rope_dim": 1},
            ("mat_a", "weight"),
        ),
    ],
)
def test_products_by_hand(name: str, dims: dict[str, Any], operands: tuple[str, str]) -> None:
    op = small(name, dims)
    inputs = make(op, "cpu")
    rows, columns = (inputs[operand] for operand in operands)
    right = [[dot(one, other) for other in columns] for one in rows]
    out = op.reference(**inputs)
    assert tuple(out.shape) == (len(rows), len(columns)) == next(iter(op.outputs().values())).shape
    for token, line in enumerate(right):
        assert row(out[token]) == pytest.approx(line, rel=1e-5, abs=1e-6)


def test_the_sizes_of_deepseek_are_the_defaults() -> None:
    fused, router = small("dsv3_fused_a_gemm", {"tokens": 1}), small("dsv3_router_gemm", {"tokens": 1})
    assert fused.outputs()["out"].shape == (1, 2112) and router.outputs()["out"].shape == (1, 256)
    assert fused.work().read == 2 * 7168 * 2113 and router.work().read == 2 * 7168 * 257


def test_the_fused_product_is_three_products() -> None:
    """Columns of the latent query first, then those of the latent key, then those of the rotary key."""
    op = small("dsv3_fused_a_gemm", {"tokens": 5, "hidden": 64, "q_lora_rank": 24, "kv_lora_rank": 16, "rope_dim": 4})
    inputs = make(op, "cpu")
    parts = op.reference(**inputs).split([24, 16, 4], 1)
    for weight, part in zip(inputs["weight"].split([24, 16, 4]), parts, strict=True):
        alone = small("matmul", {"m": 5, "n": len(weight), "k": 64})
        assert torch.allclose(alone.reference(inputs["mat_a"], weight), part, rtol=1e-6, atol=1e-6)


def test_one_expert_of_the_router_is_one_row_of_its_weight() -> None:
    op = small("dsv3_router_gemm", {"tokens": 5, "hidden": 64, "experts": 16})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    assert inputs["router_weights"].shape == (16, 64)
    inputs["router_weights"][3] = 0
    changed = op.reference(**inputs)
    assert not changed[:, 3].any()
    others = [expert for expert in range(16) if expert != 3]
    assert torch.equal(changed[:, others], out[:, others])


def test_logits_in_fp32_may_not_have_been_rounded() -> None:
    for dtype, wrong in (("fp32", True), ("bf16", False)):
        op = small("dsv3_router_gemm", {"tokens": 33, "hidden": 128, "experts": 64, "out_dtype": dtype})
        inputs = make(op, "cpu")
        want = results(op, op.reference(**inputs))
        got = {"out": want["out"].bfloat16().to(torch.float32 if wrong else torch.bfloat16)}
        if wrong:
            with pytest.raises(Wrong):
                compare(op, inputs, got, want)
        else:
            compare(op, inputs, got, want)


def test_bmm_fp8_by_hand() -> None:
    op = small("bmm_fp8", {"batch": 2, "m": 3, "n": 4, "k": 6})
    inputs = make(op, "cpu")
    a, b = (
        [[[e4m3(code, 7) for code in line] for line in one] for one in inputs[key].view(torch.uint8).tolist()] for key in "ab"
    )
    scale = float(inputs["a_scale"]) * float(inputs["b_scale"])
    out = op.reference(**inputs)
    for head in range(2):
        for i in range(3):
            right = [scale * sum(x * y for x, y in zip(a[head][i], b[head][j], strict=True)) for j in range(4)]
            assert row(out[head, i]) == pytest.approx(right, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("fp8", ["fp8_e4m3", "fp8_e4m3fnuz"])
def test_bmm_fp8_is_a_loop_of_products(fp8: str) -> None:
    op = small("bmm_fp8", {"batch": 5, "m": 7, "n": 33, "k": 48, "fp8": fp8})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    for head in range(5):
        a, b = (inputs[key][head].double() * inputs[f"{key}_scale"].double() for key in "ab")
        assert torch.allclose(out[head].double(), torch.mm(a, b.T), rtol=1e-5, atol=1e-5)


def test_one_scale_serves_all_codes_of_an_operand() -> None:
    op = small("bmm_fp8", {"batch": 5, "m": 70, "n": 33, "k": 64})
    inputs = make(op, "cpu")
    for key, size in (("a", 1.0), ("b", 64**-0.5)):
        codes, scale = inputs[key].float(), inputs[f"{key}_scale"]
        assert scale.shape == (1,) and float(codes.abs().max()) == 448
        assert float((codes * scale).std()) == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("out_dtype", ["bf16", "fp16"])
def test_the_largest_sums_fit_the_output(out_dtype: str) -> None:
    op = small("bmm_fp8", {"batch": 2, "m": 9, "n": 40, "k": 512, "out_dtype": out_dtype})
    assert bool(op.reference(**make(op, "cpu")).abs().max() < 100)


def test_a_weight_that_lies_the_other_way_round_is_found() -> None:
    """sgl_kernel's bmm_fp8 looks at no strides: of a row-major b it makes wrong numbers, which the check refuses."""
    op = small("bmm_fp8", {"batch": 3, "m": 9, "n": 48, "k": 32})
    inputs = make(op, "cpu")
    want, columns = results(op, op.reference(**inputs)), inputs["b"].transpose(-2, -1)
    scales = (inputs["a_scale"], inputs["b_scale"], torch.bfloat16)
    for b, right in ((columns, True), (columns.contiguous(), False)):
        assert b.shape == (3, 32, 48)
        got = {"out": bmm_fp8(inputs["a"], b, *scales, torch.empty(3, 9, 48, dtype=torch.bfloat16))}
        if right:
            compare(op, inputs, got, want)
        else:
            with pytest.raises(Wrong):
                compare(op, inputs, got, want)
