"""The MLPs of experts: against plain Python, against an ordinary MLP, and what they hold in memory."""

import math
from typing import Any

import pytest
import torch
from samples.experts import moe
from test_operators import e4m3, results, row, small
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_dsbench import providers
from pytest_dsbench.check import Wrong, compare
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators.block_scaled_mm import dequantised
from pytest_dsbench.providers.torch_native import experts
from pytest_dsbench.providers.torch_native.quant import quantise
from pytest_dsbench.tensors import make

providers.load()
ENCODINGS = [("fp8_e4m3", 7), ("fp8_e4m3fnuz", 8)]
MOE = {"tokens": 23, "hidden": 32, "intermediate": 48, "experts": 7, "top_k": 3, "dtype": "fp32"}
FP8 = {"tokens": 23, "hidden": 64, "intermediate": 96, "experts": 7, "top_k": 3, "group": 32}
BOTH = pytest.mark.parametrize(("name", "dims"), [("fused_moe", MOE), ("fp8_blockscale_fused_moe", FP8)])


def silu(value: float) -> float:
    return value / (1 + math.exp(-value))


def by_hand(x: list[float], w1: list[list[float]], w2: list[list[float]]) -> list[float]:
    """One expert's MLP of one token."""
    wide = len(w1) // 2
    both = [sum(a * b for a, b in zip(x, line, strict=True)) for line in w1]
    act = [silu(gate) * up for gate, up in zip(both[:wide], both[wide:], strict=True)]
    return [sum(a * b for a, b in zip(act, line, strict=True)) for line in w2]


def test_fused_moe_by_hand() -> None:
    op = small("fused_moe", {"tokens": 3, "hidden": 5, "intermediate": 4, "experts": 4, "top_k": 2})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    for token in range(3):
        right = [0.0] * 5
        for expert, weight in zip(inputs["topk_ids"][token].tolist(), row(inputs["topk_weights"][token]), strict=True):
            w1, w2 = (inputs[name][expert].double().tolist() for name in ("w1", "w2"))
            given = by_hand(row(inputs["hidden_states"][token]), w1, w2)
            right = [sum_ + weight * value for sum_, value in zip(right, given, strict=True)]
        assert row(out[token]) == pytest.approx(right, rel=1e-5, abs=1e-6)


def decoded(codes: Tensor, scales: Tensor, bias: int, group: int) -> list[list[float]]:
    """codes * scales by the bits of the codes: one scale per rows x group, as many rows as there are for each scale."""
    raw, factors = codes.view(torch.uint8).tolist(), scales.tolist()
    rows = len(raw) // len(factors)
    return [[e4m3(code, bias) * factors[i // rows][j // group] for j, code in enumerate(line)] for i, line in enumerate(raw)]


@pytest.mark.parametrize(("fp8", "bias"), ENCODINGS)
def test_fp8_blockscale_fused_moe_by_hand(fp8: str, bias: int) -> None:
    dims = {"tokens": 3, "hidden": 6, "intermediate": 3, "experts": 4, "top_k": 2, "group": 3, "fp8": fp8}
    op = small("fp8_blockscale_fused_moe", dims)
    inputs = make(op, "cpu")
    x = decoded(inputs["hidden_states"], inputs["a_scale"], bias, 3)
    out = op.reference(**inputs)
    for token in range(3):
        right = [0.0] * 6
        for expert, weight in zip(inputs["topk_ids"][token].tolist(), row(inputs["topk_weights"][token]), strict=True):
            w1 = decoded(inputs["w1"][expert], inputs["fc1_scale"][expert], bias, 3)
            w2 = decoded(inputs["w2"][expert], inputs["fc2_scale"][expert], bias, 3)
            right = [sum_ + weight * value for sum_, value in zip(right, by_hand(x[token], w1, w2), strict=True)]
        assert row(out[token]) == pytest.approx(right, rel=1e-5, abs=1e-6)


def wide(inputs: dict[str, Tensor], expert: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, and w1 and w2 of one expert, in fp64."""
    x, w1, w2 = inputs["hidden_states"], inputs["w1"][expert], inputs["w2"][expert]
    if "a_scale" in inputs:
        x = dequantised(x, inputs["a_scale"])
        w1, w2 = dequantised(w1, inputs["fc1_scale"][expert]), dequantised(w2, inputs["fc2_scale"][expert])
    return x.double(), w1.double(), w2.double()


def mlp(inputs: dict[str, Tensor], expert: int) -> Tensor:
    """An ordinary gated MLP of all tokens."""
    x, w1, w2 = wide(inputs, expert)
    gate, up = (x @ w1.T).chunk(2, -1)
    return (torch.nn.functional.silu(gate) * up) @ w2.T


def close(got: Tensor, want: Tensor) -> None:
    assert float((got.double() - want.double()).norm()) <= 2e-6 * float(want.double().norm())


@BOTH
def test_one_expert_is_a_plain_mlp(name: str, dims: dict[str, Any]) -> None:
    op = small(name, {**dims, "experts": 1, "top_k": 1})
    inputs = make(op, "cpu")
    close(op.reference(**inputs), mlp(inputs, 0))


@BOTH
def test_equal_experts_are_a_plain_mlp(name: str, dims: dict[str, Any]) -> None:
    op = small(name, dims)
    inputs = make(op, "cpu")
    for constant in op.constants:
        inputs[constant][1:] = inputs[constant][:1].clone()
    close(op.reference(**inputs), mlp(inputs, 0))


@BOTH
def test_tokens_do_not_touch_each_other(name: str, dims: dict[str, Any]) -> None:
    op, alone = small(name, dims), small(name, {**dims, "tokens": 1})
    inputs = make(op, "cpu")
    together = op.reference(**inputs)
    for token in range(op.tokens):
        one = {key: value if key in op.constants else value[token : token + 1] for key, value in inputs.items()}
        close(alone.reference(**one), together[token : token + 1])


@BOTH
def test_the_order_of_a_tokens_experts_does_not_matter(name: str, dims: dict[str, Any]) -> None:
    op = small(name, dims)
    inputs = make(op, "cpu")
    flipped = {key: value.flip(-1) if key.startswith("topk") else value for key, value in inputs.items()}
    close(op.reference(**flipped), op.reference(**inputs))


@BOTH
def test_the_mixture_that_the_cheats_vary_is_right(name: str, dims: dict[str, Any]) -> None:
    op = small(name, dims)
    inputs = make(op, "cpu")
    close(moe(inputs), op.reference(**inputs))


@BOTH
@pytest.mark.parametrize("fp8", [fp8 for fp8, _ in ENCODINGS])
def test_outputs_are_of_ordinary_size(name: str, dims: dict[str, Any], fp8: str) -> None:
    op = small(name, dims | {"tokens": 64} | ({"fp8": fp8} if name.startswith("fp8") else {}))
    out = op.reference(**make(op, "cpu"))
    assert 0.1 < float(out.square().mean().sqrt()) < 1


@BOTH
@pytest.mark.parametrize("recipe", ["zeros", "huge_channel"])
def test_the_reference_is_finite(name: str, dims: dict[str, Any], recipe: Any) -> None:
    op = small(name, dims)
    out = op.reference(**make(op, "cpu", recipe=recipe))
    assert bool(out.isfinite().all()) and (recipe != "zeros" or not out.any())


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the bytes of the largest tensor that any operation gives, but for views of the inputs."""

    def __init__(self, inputs: dict[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nbytes = 0
        self._inputs = {value.untyped_storage().data_ptr() for value in inputs.values()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(value, Tensor) and value.untyped_storage().data_ptr() not in self._inputs:
                self.nbytes = max(self.nbytes, value.nbytes)
        return out


@pytest.mark.parametrize("name", ["fused_moe", "fp8_blockscale_fused_moe"])
def test_one_expert_at_a_time_is_widened(name: str) -> None:
    op = small(name, {"tokens": 16, "hidden": 256, "intermediate": 128, "experts": 24, "top_k": 4})
    inputs = make(op, "cpu")
    for run in (lambda: op.reference(**inputs), op.providers["torch"].prepare(op, **inputs)):
        with Largest(inputs) as seen:
            run()
        assert 0 < seen.nbytes <= 4 * 2 * 128 * 256


def native(**dims: Any) -> Operator:
    return small("fused_moe", {"tokens": 61, "hidden": 64, "intermediate": 48, "experts": 12, "top_k": 3, **dims})


@pytest.mark.skipif(not hasattr(torch.nn.functional, "grouped_mm"), reason="this torch has no grouped_mm")
@pytest.mark.parametrize("tokens", [1, 61])
def test_products_in_groups_are_the_same_mixture(tokens: int) -> None:
    op = native(tokens=tokens)
    inputs = make(op, "cpu")
    launch = experts.grouped(op, **inputs)
    for content in (1, 2):
        for key, value in make(op, "cpu", content).items():
            inputs[key].copy_(value)
        compare(op, inputs, {"out": launch()}, results(op, op.reference(**inputs)))


@pytest.mark.skipif(not hasattr(torch.nn.functional, "grouped_mm"), reason="this torch has no grouped_mm")
def test_products_in_groups_leave_the_ids_on_the_device() -> None:
    """The meta device has no values: whatever looked at one would fail."""
    op = native()
    assert experts.grouped(op, **make(op, "meta"))().shape == (61, 64)


@pytest.mark.skipif(not hasattr(torch.nn.functional, "grouped_mm"), reason="this torch has no grouped_mm")
@pytest.mark.parametrize(
    ("dims", "capability", "expected"),
    [
        ({}, (9, 0), True),
        ({}, (10, 0), True),
        ({}, (8, 9), False),
        ({"dtype": "fp16"}, (9, 0), False),
        ({"hidden": 68}, (9, 0), False),
        ({"intermediate": 44}, (9, 0), False),
    ],
)
def test_native_grouping_only_where_it_is(
    dims: dict[str, Any], capability: tuple[int, int], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    op = native(**dims)
    assert experts.native_grouping(op, make(op, "meta")["hidden_states"]) == expected


def error(op: Operator, inputs: dict[str, Tensor], out: Tensor) -> float:
    return compare(op, inputs, {"out": out.to(torch.bfloat16)}, results(op, op.reference(**inputs)))["out"].rel_l2


def test_kernels_that_quantise_in_between_pass_and_others_are_closer() -> None:
    """Production kernels round silu(gate) * up to fp8 before the second product: that is what the tolerance is for."""
    op = small("fp8_blockscale_fused_moe", {"tokens": 61, "hidden": 256, "intermediate": 256, "experts": 6, "top_k": 3})
    inputs = make(op, "cpu")
    assert error(op, inputs, op.providers["torch"].prepare(op, **inputs)()) < 1e-2
    again = torch.zeros(61, 256)
    for slot in range(3):
        for token, (expert, weight) in enumerate(zip(inputs["topk_ids"][:, slot], inputs["topk_weights"][:, slot], strict=True)):
            x = dequantised(inputs["hidden_states"][token : token + 1], inputs["a_scale"][token : token + 1])
            gate, up = (x @ dequantised(inputs["w1"][expert], inputs["fc1_scale"][expert]).T).chunk(2, -1)
            act = (torch.nn.functional.silu(gate) * up).view(-1, op.group)
            codes, scales = quantise(act, inputs["w1"].dtype)
            act = (codes.float() * scales[:, None]).view(1, -1)
            again[token] += weight * (act @ dequantised(inputs["w2"][expert], inputs["fc2_scale"][expert]).T)[0]
    assert 1e-2 < error(op, inputs, again) < 3e-2


def test_silu_is_no_straight_line_where_it_is_used() -> None:
    """Gates are drawn wide enough for silu to matter, which a cheat that halves them in its place would show."""
    op = small("fused_moe", MOE)
    gate = wide(make(op, "cpu"), 0)
    values = (gate[0] @ gate[1][:48].T).flatten()
    assert 0.8 < float(values.std()) < 1.2


@pytest.mark.parametrize(
    ("name", "dims", "off"),
    [("fused_moe", {**MOE, "tokens": 131, "dtype": "bf16"}, 0.015), ("fp8_blockscale_fused_moe", {**FP8, "tokens": 131}, 0.05)],
)
def test_a_small_error_everywhere_is_too_much(name: str, dims: dict[str, Any], off: float) -> None:
    op = small(name, dims)
    inputs = make(op, "cpu")
    want = op.reference(**inputs)
    error(op, inputs, want * (1 + off / 3))
    with pytest.raises(Wrong):
        error(op, inputs, want * (1 + off))
