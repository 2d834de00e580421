"""Products with something fused to them against plain Python."""

import math
from typing import Any

import pytest
import torch
from test_operators import as_bf16, results, row, small

from pytest_dsbench.check import compare
from pytest_dsbench.tensors import make


@pytest.mark.parametrize("features", [1, 3])
def test_linear_sigmoid_mul_by_hand(features: int) -> None:
    op = small("linear_sigmoid_mul", {"tokens": 4, "hidden": 11, "features": features})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    assert out.shape == inputs["post_mul_mat"].shape == (4, 11 if features == 1 else 3)
    for token in range(4):
        x = row(inputs["hidden_states"][token])
        gates = [
            as_bf16(sum(a * b for a, b in zip(x, row(weight), strict=True)) + float(bias))
            for weight, bias in zip(inputs["weight"], inputs["bias"], strict=True)
        ]
        post = row(inputs["post_mul_mat"][token])
        # One gate is that of the whole row.
        spread = gates * len(post) if features == 1 else gates
        right = [value / (1 + math.exp(-gate)) for value, gate in zip(post, spread, strict=True)]
        assert row(out[token]) == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("features", [1, 300])
def test_gates_are_drawn_where_they_matter(features: int) -> None:
    op = small("linear_sigmoid_mul", {"tokens": 300, "hidden": 512, "features": features})
    inputs = make(op, "cpu")
    product = inputs["hidden_states"].float() @ inputs["weight"].float().T
    assert 0.8 < float(product.std()) < 1.2 and (features == 1 or 0.8 < float(inputs["bias"].float().std()) < 1.2)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize(("tokens", "features"), [(500, 1), (500, 257), (1, 1), (13, 1), (1, 300), (1025, 1)])
def test_a_kernel_may_keep_its_gate_in_fp32(dtype: str, tokens: int, features: int) -> None:
    op: Any = small("linear_sigmoid_mul", {"tokens": tokens, "hidden": 256, "features": features, "dtype": dtype})
    for content in range(6):
        inputs = make(op, "cpu", content)
        want = results(op, op.reference(**inputs))
        gate = inputs["hidden_states"].float() @ inputs["weight"].float().T + inputs["bias"].float()
        kernel = gate.sigmoid() * inputs["post_mul_mat"].float()
        assert not torch.equal(kernel, want["out"])
        compare(op, inputs, {"out": kernel.to(inputs["bias"].dtype)}, want)
