"""Routers, what grouped products start from and the way back: against plain Python, and wrong answers named."""

import math
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch
from test_operators import results, row, small
from torch import Tensor

from pytest_dsbench.check import Wrong, compare
from pytest_dsbench.operator import Operator
from pytest_dsbench.tensors import make

Tensors = dict[str, Tensor]


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def best(scores: list[float], count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: -scores[index])[:count]


def shares(weights: list[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("renormalize", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_topk_softmax_by_hand(bias: bool, renormalize: bool, dtype: str) -> None:
    dims = {"tokens": 5, "experts": 11, "top_k": 4, "bias": bias, "renormalize": renormalize, "dtype": dtype}
    op = small("topk_softmax", dims)
    inputs = make(op, "cpu")
    shift = row(inputs["correction_bias"]) if bias else [0.0] * 11
    weights, ids = op.reference(**inputs)
    for token in range(5):
        odds = softmax([a + b for a, b in zip(row(inputs["gating_output"][token]), shift, strict=True)])
        right = [odds[index] for index in best(odds, 4)]
        if len(set(odds)) == 11:
            assert ids[token].tolist() == best(odds, 4)
        assert row(weights[token]) == pytest.approx(shares(right) if renormalize else right, rel=1e-12)


def test_without_options_topk_softmax_is_the_older_operator() -> None:
    dims = {"tokens": 9, "experts": 20, "top_k": 3}
    older, newer = small("moe_topk_gating_softmax", dims), small("topk_softmax", dims)
    inputs = make(older, "cpu")
    for left, right in zip(older.reference(**inputs), newer.reference(**inputs), strict=True):
        assert torch.equal(left, right)
    assert older.work() == newer.work() and older.outputs() == newer.outputs()


@pytest.mark.parametrize("renormalize", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_topk_sigmoid_by_hand(bias: bool, renormalize: bool) -> None:
    op = small("topk_sigmoid", {"tokens": 5, "experts": 11, "top_k": 4, "bias": bias, "renormalize": renormalize})
    inputs = make(op, "cpu")
    shift = row(inputs["correction_bias"]) if bias else [0.0] * 11
    weights, ids = op.reference(**inputs)
    for token in range(5):
        scores = [sigmoid(value) for value in row(inputs["gating_output"][token])]
        chosen = best([a + b for a, b in zip(scores, shift, strict=True)], 4)
        right = [scores[index] for index in chosen]
        assert ids[token].tolist() == chosen
        assert row(weights[token]) == pytest.approx(shares(right) if renormalize else right, rel=1e-12)


def test_a_bias_chooses_for_both_and_weighs_for_softmax_alone() -> None:
    logits, bias = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([-9.0, 0.0, 0.0])
    dims = {"tokens": 1, "experts": 3, "top_k": 2, "bias": True}
    weights, ids = small("topk_softmax", dims).reference(logits, bias)
    assert ids.tolist() == [[1, 2]]
    assert row(weights[0]) == pytest.approx(softmax([-7.0, 1.0, 0.0])[1:])
    plain = small("topk_softmax", {**dims, "bias": False}).reference(logits)[0]
    assert abs(float(plain[0, 1]) - float(weights[0, 0])) > 0.4
    weights, ids = small("topk_sigmoid", dims).reference(logits, bias)
    assert ids.tolist() == [[1, 2]] and row(weights[0]) == pytest.approx([sigmoid(1.0), 0.5])


@pytest.mark.parametrize("name", ["topk_softmax", "topk_sigmoid", "moe_fused_gate"])
def test_the_bias_that_is_drawn_changes_most_choices(name: str) -> None:
    dims: dict[str, Any] = {"tokens": 200, "experts": 64, "top_k": 6}
    dims |= {"groups": 8, "kept_groups": 3} if name == "moe_fused_gate" else {"bias": True}
    op = small(name, dims)
    inputs = make(op, "cpu")
    assert op.constants == ("correction_bias",) and inputs["correction_bias"].shape == (64,)
    with_it, without = (
        op.reference(**inputs | {"correction_bias": bias})[1].sort().values
        for bias in (inputs["correction_bias"], torch.zeros(64))
    )
    assert float((with_it != without).any(-1).float().mean()) > 0.5


def test_an_fp32_kernel_that_adds_the_bias_and_takes_it_off_is_right() -> None:
    for renormalize in (False, True):
        op = small("topk_sigmoid", {"tokens": 500, "experts": 64, "top_k": 6, "renormalize": renormalize})
        inputs = make(op, "cpu")
        choice, ids = (inputs["gating_output"].sigmoid() + inputs["correction_bias"]).topk(6)
        weights = choice - inputs["correction_bias"][ids]
        weights = weights / weights.sum(-1, keepdim=True) if renormalize else weights
        want = results(op, op.reference(**inputs))
        assert not torch.equal(weights.double(), want["topk_weights"])
        compare(op, inputs, {"topk_weights": weights, "topk_ids": ids.int()}, want)
        with pytest.raises(Wrong, match=r"topk_weights\[0, 0\] is .*; expected .*, that of the expert in its place"):
            compare(op, inputs, {"topk_weights": weights + 1e-4, "topk_ids": ids.int()}, want)


def gated(logits: list[float], bias: list[float], groups: int, kept: int, top_k: int, scaling: float) -> dict[int, float]:
    """DeepSeek-V3's routing of one token by trying every set of groups: expert -> weight."""
    scores = [sigmoid(value) for value in logits]
    choice = [a + b for a, b in zip(scores, bias, strict=True)]
    each = len(logits) // groups
    totals = [sum(sorted(choice[group * each : (group + 1) * each])[-2:]) for group in range(groups)]
    stay = max(combinations(range(groups), kept), key=lambda some: sum(totals[group] for group in some))
    able = [expert for expert in range(len(logits)) if expert // each in stay]
    chosen = max(combinations(able, top_k), key=lambda some: sum(choice[expert] for expert in some))
    return {expert: scaling * scores[expert] / sum(scores[one] for one in chosen) for expert in chosen}


@pytest.mark.parametrize(
    ("experts", "groups", "kept", "top_k"), [(12, 4, 2, 3), (16, 8, 3, 4), (7, 7, 3, 2), (10, 2, 2, 3), (6, 1, 1, 6)]
)
def test_moe_fused_gate_by_trying_all_choices(experts: int, groups: int, kept: int, top_k: int) -> None:
    op = small("moe_fused_gate", {"tokens": 20, "experts": experts, "groups": groups, "kept_groups": kept, "top_k": top_k})
    inputs = make(op, "cpu")
    weights, ids = op.reference(**inputs)
    for token in range(20):
        right = gated(row(inputs["gating_output"][token]), row(inputs["correction_bias"]), groups, kept, top_k, 2.5)
        assert dict(zip(ids[token].tolist(), row(weights[token]), strict=True)) == pytest.approx(right, rel=1e-6)
        assert sum(row(weights[token])) == pytest.approx(2.5, rel=1e-6)


def test_one_group_is_a_topk_sigmoid() -> None:
    dims = {"tokens": 30, "experts": 20, "top_k": 5}
    whole = small("moe_fused_gate", {**dims, "groups": 1, "kept_groups": 1, "scaling": 1.0})
    plain = small("topk_sigmoid", {**dims, "renormalize": True})
    inputs = make(plain, "cpu")
    want, got = results(plain, plain.reference(**inputs)), results(whole, whole.reference(**inputs))
    compare(plain, inputs, got, want)
    compare(whole, inputs, want, got)


#: Four groups of two; their scores are 5, 4, 4 and 1 in steps that fp32 tells apart, but for the groups in the middle.
CHOICE = [[3.0, 2.0], [2.5, 1.5], [3.5, 0.5], [0.9, 0.1]]


def gate_flaw(ids: list[int], kept: int = 2, top_k: int = 2, choice: list[list[float]] = CHOICE) -> str | None:
    """What is wrong with a choice by scores that the bias alone makes: all sigmoids are a half."""
    dims = {"tokens": 1, "experts": 8, "groups": 4, "kept_groups": kept, "top_k": top_k, "scaling": 1.0}
    op = small("moe_fused_gate", dims)
    bias = torch.tensor(choice).flatten() - 0.5
    inputs = {"gating_output": torch.zeros(1, 8), "correction_bias": bias}
    got = {"topk_weights": torch.full((1, top_k), 1 / top_k), "topk_ids": torch.tensor([ids], dtype=torch.int32)}
    return op.flaw(inputs, got, results(op, op.reference(**inputs)))


@pytest.mark.parametrize("ids", [[0, 2], [2, 0], [4, 0], [0, 4]])
def test_any_order_and_either_of_two_equal_groups(ids: list[int]) -> None:
    """With the second group kept 3.0 and 2.5 are the best, with the third one 3.5 and 3.0."""
    assert gate_flaw(ids) is None


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([0, 6], "topk_ids[0] names an expert of group 3, which is not among the 2 best of its row"),
        ([2, 4], "topk_ids[0] names experts of groups that leave out one of the 2 best of its row"),
        ([0, 1], "topk_ids[0] leaves out expert 2 of score 2.5 and names one of score 2"),
        ([0, 3], "topk_ids[0] leaves out expert 2 of score 2.5 and names one of score 1.5"),
        ([0, 0], "topk_ids[0] names expert 0 twice"),
        ([0, 8], "topk_ids[0, 1] is 8; expected 0 to 7"),
        ([-1, 0], "topk_ids[0, 0] is -1; expected 0 to 7"),
    ],
)
def test_wrong_choices_are_named(ids: list[int], sentence: str) -> None:
    assert gate_flaw(ids) == sentence


def test_a_group_may_be_kept_for_none_of_its_experts() -> None:
    """The second group is certain to be kept; the first has the two best experts all the same."""
    choice = [[3.0, 2.9], [2.8, 2.7], [0.2, 0.1], [0.2, 0.1]]
    assert gate_flaw([0, 1], choice=choice) is None
    assert gate_flaw([0, 2], choice=choice) == "topk_ids[0] leaves out expert 1 of score 2.9 and names one of score 2.8"


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_a_gate_may_compute_in_the_dtype_of_its_logits(dtype: str) -> None:
    """As sgl_kernel does: sigmoid, sum with the bias and the groups' sums are each rounded."""
    dims = {"tokens": 400, "experts": 64, "groups": 8, "kept_groups": 4, "top_k": 8, "dtype": dtype}
    op: Any = small("moe_fused_gate", dims)
    for content in range(3):
        inputs = make(op, "cpu", content)
        logits, want = inputs["gating_output"], results(op, op.reference(**inputs))
        scores = logits.float().sigmoid().to(logits.dtype)
        groups = (scores + inputs["correction_bias"]).view(-1, 8, 8)
        pair = groups.topk(2).values
        stay = (pair[..., 0] + pair[..., 1]).topk(4).indices
        dropped = torch.ones(400, 8, dtype=torch.bool).scatter(-1, stay, False)
        ids = groups.masked_fill(dropped[..., None], -torch.inf).flatten(1).topk(8).indices
        weights = scores.gather(-1, ids).float()
        weights = weights / weights.sum(-1, keepdim=True) * 2.5
        if dtype == "bf16":
            assert not torch.equal(ids.sort().values, want["topk_ids"].long().sort().values)
        compare(op, inputs, {"topk_weights": weights, "topk_ids": ids.int()}, want)


def test_scores_that_vanish_in_fp32_leave_nothing_to_divide() -> None:
    op = small("moe_fused_gate", {"tokens": 1, "experts": 4, "groups": 2, "kept_groups": 1, "top_k": 1})
    inputs = {"gating_output": torch.tensor([[-400.0, 0.0, 0.0, 0.0]]), "correction_bias": torch.tensor([2.0, 0.0, 0.0, 0.0])}
    want = results(op, op.reference(**inputs))
    assert row(want["topk_weights"][0]) == [2.5] and want["topk_ids"].tolist() == [[0]]
    assert op.flaw(inputs, {**want, "topk_weights": torch.tensor([[torch.nan]])}, want) is None
    inputs["gating_output"][0, 0] = 0.0
    assert op.flaw(inputs, {**want, "topk_weights": torch.tensor([[torch.nan]])}, want) is not None


def prepared(tokens: int = 37, experts: int = 9, top_k: int = 4) -> tuple[Operator, Tensors, Tensors]:
    dims = {"tokens": tokens, "experts": experts, "top_k": top_k, "hidden": 96, "intermediate": 64}
    op = small("prepare_moe_input", dims)
    inputs = make(op, "cpu")
    return op, inputs, results(op, op.reference(**inputs))


@pytest.mark.parametrize(("tokens", "experts", "top_k"), [(37, 9, 4), (3, 70, 2), (700, 3, 2), (1, 1, 1)])
def test_prepare_moe_input_by_hand(tokens: int, experts: int, top_k: int) -> None:
    _, inputs, want = prepared(tokens, experts, top_k)
    flat = inputs["topk_ids"].flatten().tolist()
    counts = [flat.count(expert) for expert in range(experts)]
    assert want["problem_sizes1"].tolist() == [[count, 128, 96] for count in counts]
    assert want["problem_sizes2"].tolist() == [[count, 96, 64] for count in counts]
    assert want["expert_offsets"].tolist() == [sum(counts[:end]) for end in range(experts + 1)]
    tiles = [128 * math.ceil(count / 128) for count in counts]
    assert want["blockscale_offsets"].tolist() == [sum(tiles[:end]) for end in range(experts + 1)]
    rows, sources = want["output_permutation"].tolist(), want["input_permutation"].tolist()
    assert sorted(rows) == list(range(tokens * top_k))
    for position, place in enumerate(rows):
        assert sources[place] == position // top_k
        assert sum(counts[: flat[position]]) <= place < sum(counts[: flat[position] + 1])


def test_the_rows_of_an_expert_may_come_in_any_order() -> None:
    op, inputs, want = prepared()
    starts = want["expert_offsets"].tolist()
    turned = torch.cat([torch.arange(start, end).flip(0) for start, end in pairwise(starts)])
    rows = turned[want["output_permutation"].long()]
    sources = torch.empty_like(rows)
    sources[rows] = torch.arange(len(rows)) // 4
    got = {**want, "output_permutation": rows.int(), "input_permutation": sources.int()}
    assert not torch.equal(got["output_permutation"], want["output_permutation"])
    compare(op, inputs, got, want)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("output_permutation", [0, 2, 1, 6], "output_permutation[3] is 6; expected 0 to 3"),
        ("output_permutation", [-1, 2, 1, 3], "output_permutation[0] is -1; expected 0 to 3"),
        ("output_permutation", [0, 2, 0, 3], "output_permutation names row 0 more than once"),
        ("output_permutation", [2, 0, 1, 3], "output_permutation[0] is row 2, of expert 2; expected one of expert 0"),
        ("output_permutation", [1, 2, 0, 3], "input_permutation[0] is 0; expected token 1, which output_permutation sends there"),
        ("input_permutation", [1, 0, 0, 1], "input_permutation[0] is 1; expected token 0, which output_permutation sends there"),
        ("input_permutation", [0, 1, 0, 7], "input_permutation[3] is 7; expected token 1, which output_permutation sends there"),
    ],
)
def test_misplaced_rows_are_named(name: str, values: list[int], sentence: str) -> None:
    """Tokens 0 and 1 both go to experts 0 and 2: rows 0 and 1, 2 and 3."""
    op = small("prepare_moe_input", {"tokens": 2, "experts": 3, "top_k": 2, "hidden": 1, "intermediate": 1})
    inputs = {"topk_ids": torch.tensor([[0, 2], [0, 2]], dtype=torch.int32)}
    want = results(op, op.reference(**inputs))
    assert op.flaw(inputs, want, want) is None
    assert op.flaw(inputs, {**want, name: torch.tensor(values, dtype=torch.int32)}, want) == sentence


def test_shuffle_mul_sum_by_hand() -> None:
    op = small("shuffle_mul_sum", {"tokens": 4, "top_k": 3, "hidden": 5})
    inputs = make(op, "cpu")
    places, outputs = inputs["permutation"].tolist(), inputs["expert_outputs"].double().tolist()
    assert sorted(places) == list(range(12)) != places
    out = op.reference(**inputs)
    for token in range(4):
        factors = row(inputs["factors"][token])
        right = [sum(factors[j] * outputs[places[3 * token + j]][column] for j in range(3)) for column in range(5)]
        assert row(out[token]) == pytest.approx(right, rel=1e-12)


def test_shuffle_mul_sum_undoes_the_grouping_of_prepare_moe_input() -> None:
    """Rows gathered by the one permutation and brought back by the other are those of the tokens, as often as they were sent."""
    _, inputs, want = prepared()
    hidden = torch.randn(37, 5, generator=torch.Generator().manual_seed(0)).double()
    rows = hidden[want["input_permutation"].long()]
    factors = torch.rand(37, 4, generator=torch.Generator().manual_seed(1)).double()
    op = small("shuffle_mul_sum", {"tokens": 37, "top_k": 4, "hidden": 5, "dtype": "fp32"})
    out = op.reference(rows, want["output_permutation"], factors)
    assert torch.allclose(out, hidden * factors.sum(-1, keepdim=True), rtol=1e-12)
    # Each row times a number of its expert, as if that were its MLP.
    owners = inputs["topk_ids"].flatten().long().sort().values
    out = op.reference(rows * (1.0 + owners[:, None]), want["output_permutation"], factors)
    strength = (factors * (1.0 + inputs["topk_ids"])).sum(-1, keepdim=True)
    assert torch.allclose(out, hidden * strength, rtol=1e-12)
