"""Rotary embeddings against plain Python, the laws they obey, and how exact a kernel's angles must be."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_operators import results, row, small
from torch import Tensor

from pytest_dsbench.check import compare
from pytest_dsbench.operators._rope import rotated
from pytest_dsbench.tensors import make, torch_dtype


def turned(values: list[float], angles: list[float]) -> list[float]:
    """Half-split, one pair after another; what is left over stays."""
    out, pairs = list(values), len(angles)
    for i, angle in enumerate(angles):
        low, high = values[i], values[i + pairs]
        out[i] = low * math.cos(angle) - high * math.sin(angle)
        out[i + pairs] = high * math.cos(angle) + low * math.sin(angle)
    return out


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rope_dim", [8, 4])
def test_fused_qkv_rope_by_hand(bias: bool, rope_dim: int) -> None:
    dims = {"tokens": 3, "q_heads": 2, "kv_heads": 1, "head_dim": 8, "rope_dim": rope_dim, "base": 100.0}
    op = small("fused_qkv_rope", {**dims, "bias": bias, "dtype": "fp32"})
    inputs = make(op, "cpu")
    q, k, v = op.reference(**inputs)
    for token in range(3):
        total = inputs["qkv"][token] + inputs["qkv_bias"] if bias else inputs["qkv"][token]
        angles = [int(inputs["positions"][token]) * 100.0 ** (-2 * i / rope_dim) for i in range(rope_dim // 2)]
        for head, found in enumerate((q[token, 0], q[token, 1], k[token, 0])):
            right = turned(row(total[8 * head : 8 * head + 8]), angles)
            assert row(found) == pytest.approx(right, rel=1e-9, abs=1e-9)
        assert row(v[token, 0]) == row(total[24:])


def test_nothing_turns_at_position_0() -> None:
    op = small("fused_qkv_rope", {"tokens": 5, "q_heads": 2, "kv_heads": 1})
    inputs = make(op, "cpu")
    # That is why the positions drawn are others.
    assert len(set(inputs["positions"].tolist())) == 5 and int(inputs["positions"].max()) > 1000
    inputs["positions"].zero_()
    assert torch.equal(torch.cat(op.reference(**inputs), 1).flatten(1), inputs["qkv"].double())


def test_scores_depend_on_the_distance_alone() -> None:
    op = small("fused_qkv_rope", {"tokens": 2, "q_heads": 1, "kv_heads": 1})
    inputs = make(op, "cpu")

    def score(query: int, key: int) -> float:
        q, k, _ = op.reference(**inputs | {"positions": torch.tensor([query, key], dtype=torch.int32)})
        return float((q[0, 0] * k[1, 0]).sum())

    assert score(30000, 29990) == pytest.approx(score(10, 0), rel=1e-9)
    assert score(10, 0) != pytest.approx(score(0, 10), rel=1e-3)


def test_turning_keeps_lengths() -> None:
    op = small("fused_qkv_rope", {"tokens": 7, "q_heads": 2, "kv_heads": 1})
    inputs = make(op, "cpu")
    q, _, _ = op.reference(**inputs)
    assert torch.allclose(q.norm(dim=-1), inputs["qkv"].view(7, 4, 128)[:, :2].double().norm(dim=-1), rtol=1e-12)


POWERS: dict[str, Callable[[Tensor], Tensor]] = {
    "an inverse power": lambda steps: 1 / 10000**steps,
    "a power of two": lambda steps: torch.exp2(-steps * math.log2(10000)),
    # CUDA's powf may be 4 units in the last place off.
    "a power 4 units off": lambda steps: 10000**-steps * (1 + 4 * 2**-24),
}


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("power", POWERS)
def test_a_kernel_may_compute_its_angles_in_fp32(dtype: str, power: str) -> None:
    op: Any = small("fused_qkv_rope", {"tokens": 300, "q_heads": 8, "kv_heads": 2, "dtype": dtype})
    inputs = make(op, "cpu")
    inputs["positions"][:30] = torch.arange(32738, 32768)
    want = results(op, op.reference(**inputs))
    steps = torch.arange(0, 128, 2).float() / 128
    angles = inputs["positions"][:, None] * POWERS[power](steps)
    assert angles.dtype == torch.float32
    heads = inputs["qkv"].view(300, 12, 128)
    qk = rotated(heads[:, :10], angles.cos(), angles.sin()).to(torch_dtype(dtype))
    compare(op, inputs, {"q": qk[:, :8], "k": qk[:, 8:], "v": heads[:, 10:]}, want)


def test_mrope_by_hand() -> None:
    op = small("mrope", {"tokens": 3, "q_heads": 2, "kv_heads": 1, "head_dim": 9, "sections": [1, 2, 1]})
    inputs = make(op, "cpu")
    q, k = op.reference(**inputs)
    for token in range(3):
        angles = [
            math.atan2(float(inputs["sin"][axis, token, i]), float(inputs["cos"][axis, token, i]))
            for i, axis in enumerate((0, 1, 1, 2))
        ]
        for found, given in ((q[token, 9:], inputs["q"][token, 9:]), (k[token], inputs["k"][token])):
            assert row(found) == pytest.approx(turned(row(given), angles), rel=1e-6, abs=1e-6)
        assert float(q[token, 17]) == float(inputs["q"][token, 17])


def test_mrope_angles_are_those_of_positions() -> None:
    op: Any = small("mrope", {"tokens": 50, "q_heads": 1, "kv_heads": 1})
    inputs = make(op, "cpu")
    cos, sin = inputs["cos"].double(), inputs["sin"].double()
    assert cos.shape == (3, 50, 64) and torch.allclose(cos**2 + sin**2, torch.ones(3, 50, 64).double(), atol=1e-6)
    # Pairs 16 apart turn at a tenth of the speed; the slowest ones at 1.15e-4 per position.
    slowest = torch.atan2(sin[..., -1], cos[..., -1]) % (2 * math.pi) / 10000 ** (-63 / 64)
    assert torch.allclose(torch.cos(slowest.round()), cos[..., 0], atol=1e-5)
    assert len({tuple(axis.tolist()) for axis in cos[..., 0]}) == 3


def test_with_one_position_on_all_axes_mrope_is_rope() -> None:
    rope = small("fused_qkv_rope", {"tokens": 5, "q_heads": 2, "kv_heads": 1, "dtype": "fp32"})
    given = make(rope, "cpu")
    angles = given["positions"].double()[:, None] * 10000.0 ** (-torch.arange(64).double() / 64)
    op = small("mrope", {"tokens": 5, "q_heads": 2, "kv_heads": 1, "dtype": "fp32"})
    tables = {"cos": angles.cos().expand(3, 5, 64), "sin": angles.sin().expand(3, 5, 64)}
    q, k = op.reference(given["qkv"][:, :256].contiguous(), given["qkv"][:, 256:384].contiguous(), **tables)
    right_q, right_k, _ = rope.reference(**given)
    assert torch.allclose(q, right_q.flatten(1), rtol=1e-12) and torch.allclose(k, right_k.flatten(1), rtol=1e-12)
