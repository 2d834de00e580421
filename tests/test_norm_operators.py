"""The normalisations inside attention against plain Python, and what their tolerances leave to a kernel."""

import math
import struct
from typing import Any

import pytest
import torch
from test_operators import results, row, small

from pytest_dsbench.check import compare
from pytest_dsbench.tensors import make, torch_dtype


def as_fp16(value: float) -> float:
    """Rounds to fp16, to nearest even."""
    (rounded,) = struct.unpack("<e", struct.pack("<e", value))
    return float(rounded)


def root_mean_square(values: list[float], eps: float) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values) + eps)


def test_fused_qk_rmsnorm_by_hand() -> None:
    op = small("fused_qk_rmsnorm", {"tokens": 3, "q_heads": 2, "kv_heads": 1, "head_dim": 5})
    inputs = make(op, "cpu")
    x, out = row(inputs["hidden_states"][1]), row(op.reference(**inputs)[1])
    for head, weight in enumerate(("q_weight", "q_weight", "k_weight")):
        values = x[5 * head : 5 * head + 5]
        size = root_mean_square(values, 1e-6)
        right = [w * as_fp16(value / size) for value, w in zip(values, row(inputs[weight]), strict=True)]
        assert out[5 * head : 5 * head + 5] == pytest.approx(right, rel=1e-12)
    assert out[15:] == x[15:]


def test_the_size_of_a_head_does_not_matter_but_for_eps() -> None:
    op = small("fused_qk_rmsnorm", {"tokens": 3, "q_heads": 2, "kv_heads": 1, "eps": 0.0})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    larger = op.reference(**inputs | {"hidden_states": inputs["hidden_states"] * 4})
    assert torch.equal(larger[:, :384], out[:, :384]) and torch.equal(larger[:, 384:], 4 * out[:, 384:])


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_a_kernel_may_round_the_norm_before_its_weight_or_not(dtype: str) -> None:
    op: Any = small("fused_qk_rmsnorm", {"tokens": 200, "q_heads": 8, "kv_heads": 2, "dtype": dtype})
    inputs = make(op, "cpu")
    want = op.reference(**inputs)
    heads = inputs["hidden_states"].double().unflatten(-1, (12, 128))
    normed = heads * (heads.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    weight = torch.cat([inputs["q_weight"].expand(8, -1), inputs["k_weight"].expand(2, -1)])
    kernel = torch.cat([normed[:, :10] * weight, heads[:, 10:]], 1).flatten(1)
    assert not torch.equal(kernel, want)
    found = compare(op, inputs, {"out": kernel.to(torch_dtype(dtype))}, {"out": want})
    assert found["out"].worst < 0.6


def test_a_changed_v_is_named() -> None:
    op = small("fused_qk_rmsnorm", {"tokens": 3, "q_heads": 2, "kv_heads": 1, "head_dim": 5})
    inputs = make(op, "cpu")
    want = results(op, op.reference(**inputs))
    got = {"out": want["out"].half()}
    assert op.flaw(inputs, got, want) is None
    got["out"][1, 17] = math.nan
    assert op.flaw(inputs, got, want) == "output 'out' is wrong: v at [1, 17] is not that of the input, bit by bit"


def test_gated_rms_norm_by_hand() -> None:
    op = small("gated_rms_norm", {"rows": 3, "hidden": 9})
    inputs = make(op, "cpu")
    x, z, weight = row(inputs["x"][1]), row(inputs["z"][1]), row(inputs["weight"])
    size = root_mean_square(x, 1e-6)
    right = [a / size * w * gate / (1 + math.exp(-gate)) for a, gate, w in zip(x, z, weight, strict=True)]
    assert row(op.reference(**inputs)[1]) == pytest.approx(right, rel=1e-12)


def test_a_gate_of_zero_closes() -> None:
    op = small("gated_rms_norm", {"rows": 2, "hidden": 7})
    inputs = make(op, "cpu")
    inputs["z"][0] = 0
    out = op.reference(**inputs)
    assert not out[0].any() and bool(out[1].all())


def test_l2_norm_by_hand() -> None:
    op = small("l2_norm", {"tokens": 3, "hidden": 9})
    inputs = make(op, "cpu")
    x = row(inputs["x"][1])
    length = math.sqrt(sum(value * value for value in x) + 1e-6)
    assert row(op.reference(**inputs)[1]) == pytest.approx([value / length for value in x], rel=1e-6)


def test_l2_norm_makes_rows_of_length_one() -> None:
    op = small("l2_norm", {"tokens": 20, "hidden": 129, "eps": 0.0})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    assert out.double().norm(dim=-1).tolist() == pytest.approx([1.0] * 20, rel=1e-6)
    # The direction stays.
    assert torch.nn.functional.cosine_similarity(out.double(), inputs["x"].double()).tolist() == pytest.approx([1.0] * 20)


@pytest.mark.parametrize(
    ("name", "dims", "key", "share"),
    [
        ("fused_qk_rmsnorm", {"tokens": 64, "q_heads": 4, "kv_heads": 1}, "hidden_states", 1e-6),
        ("gated_rms_norm", {"rows": 64}, "x", 1e-6),
        ("l2_norm", {"tokens": 64, "hidden": 2048}, "x", 1e-6 / 2048),
        ("l2_norm", {"tokens": 64, "hidden": 128}, "x", 1e-6 / 128),
    ],
)
def test_eps_is_a_part_of_the_draw_that_shows(name: str, dims: dict[str, Any], key: str, share: float) -> None:
    x = make(small(name, dims), "cpu")[key].double()
    assert 0.03 < share / float(x.square().mean()) < 0.08
