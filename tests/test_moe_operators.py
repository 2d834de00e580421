"""Routing: that the work is counted from the ids really drawn, and the lists and sums against plain Python."""

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_operators import as_bf16, results, row, small
from torch import Tensor

from pytest_dsbench.operator import Operator
from pytest_dsbench.operators._routing import active, loads
from pytest_dsbench.tensors import make

#: tokens, experts, top_k: one token, all experts, more experts than places, a production layer.
ROUTINGS = [(1, 128, 8), (1, 1, 1), (7, 5, 5), (3, 70, 2), (61, 6, 3), (520, 128, 8), (3804, 256, 8)]
each_routing = pytest.mark.parametrize(("tokens", "experts", "top_k"), ROUTINGS)


def routed(name: str, tokens: int, experts: int, top_k: int) -> Operator:
    dims: dict[str, Any] = {"tokens": tokens, "experts": experts, "top_k": top_k}
    if "fused_moe" in name:
        dims |= {"hidden": 32, "intermediate": 32}
    if name.startswith("fp8"):
        dims |= {"group": 32}
    return small(name, dims)


NAMES = ("fused_moe", "fp8_blockscale_fused_moe", "moe_align_block_size", "moe_count_and_sort")


@each_routing
@pytest.mark.parametrize("content", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_the_drawn_ids_have_the_counted_loads(name: str, tokens: int, experts: int, top_k: int, content: int) -> None:
    op = routed(name, tokens, experts, top_k)
    ids = make(op, "cpu", content)["topk_ids"]
    assert ids.shape == (tokens, top_k) and ids.dtype == torch.int32
    assert all(len(set(chosen)) == top_k for chosen in ids.tolist()), "an expert twice in a row"
    drawn = ids.flatten().bincount(minlength=experts)
    assert drawn.sort().values.tolist() == sorted(loads(tokens, experts, top_k))
    assert len(ids.unique()) == active(tokens, experts, top_k)


@each_routing
@pytest.mark.parametrize("content", [0, 1])
def test_weights_of_the_experts_named_and_blocks_filled_are_what_work_counts(
    tokens: int, experts: int, top_k: int, content: int
) -> None:
    op = routed("fused_moe", tokens, experts, top_k)
    inputs = make(op, "cpu", content)
    named = len(inputs["topk_ids"].unique())
    per_expert = sum(inputs[name][0].nbytes for name in ("w1", "w2"))
    others = sum(value.nbytes for name, value in inputs.items() if name not in ("w1", "w2"))
    assert op.work().read == others + named * per_expert
    align = small("moe_align_block_size", {"tokens": tokens, "experts": experts, "top_k": top_k, "block_size": 16})
    given = make(align, "cpu", content)
    sizes = given["topk_ids"].flatten().bincount().tolist()
    blocks = sum((size + 15) // 16 for size in sizes)
    assert align.outputs()["expert_ids"].shape == (blocks,)
    assert int(align.reference(**given)[2]) == 16 * blocks
    assert align.work().written == 4 * (16 * blocks + blocks + 1)


@pytest.mark.parametrize("name", NAMES)
def test_every_content_routes_otherwise(name: str) -> None:
    op = routed(name, 61, 16, 3)
    first, second = (make(op, "cpu", content)["topk_ids"] for content in (0, 1))
    assert not torch.equal(first, second)
    # The same loads, but not of the same experts.
    assert not torch.equal(first.flatten().bincount(minlength=16), second.flatten().bincount(minlength=16))


@pytest.mark.parametrize("name", NAMES)
def test_the_tokens_of_an_expert_lie_apart(name: str) -> None:
    ids = make(routed(name, 61, 16, 3), "cpu", 0)["topk_ids"]
    assert int((ids[1:].sort().values == ids[:-1].sort().values).all(-1).sum()) < 6
    runs = [(ids == expert).any(-1).nonzero().flatten().diff() for expert in range(16)]
    assert any(bool((gaps > 1).any()) and bool((gaps == 1).sum() < len(gaps) // 2) for gaps in runs)


@given(st.integers(1, 3000), st.integers(1, 200), st.data())
@settings(max_examples=80, deadline=None)
def test_loads_are_those_of_distinct_experts_per_token(tokens: int, experts: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, min(experts, 20)))
    found = loads(tokens, experts, top_k)
    assert len(found) == experts and sum(found) == tokens * top_k
    assert min(found) >= 0 and max(found) <= tokens
    assert top_k <= active(tokens, experts, top_k) <= experts


def test_loads_of_every_small_routing() -> None:
    for tokens, experts in product(range(1, 9), range(1, 17)):
        for top_k in range(1, experts + 1):
            found = loads(tokens, experts, top_k)
            assert sum(found) == tokens * top_k and min(found) >= 0 and max(found) <= tokens, (tokens, experts, top_k)


@pytest.mark.parametrize(("tokens", "experts", "top_k"), [(4195, 128, 8), (30, 4000, 4), (500, 64, 48)])
def test_loads_spread_as_those_of_independent_tokens(tokens: int, experts: int, top_k: int) -> None:
    share = top_k / experts
    expected = (tokens * share * (1 - share)) ** 0.5
    found = torch.tensor(loads(tokens, experts, top_k), dtype=torch.float64)
    assert float(found.std()) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("name", ["fused_moe", "fp8_blockscale_fused_moe"])
@pytest.mark.parametrize("recipe", ["random", "zeros", "huge_channel"])
def test_weights_add_up_to_one_and_differ(name: str, recipe: Any) -> None:
    op = routed(name, 500, 16, 4)
    weights = make(op, "cpu", recipe=recipe)["topk_weights"]
    assert weights.shape == (500, 4) and weights.dtype == torch.float32 and bool((weights > 0).all())
    assert torch.allclose(weights.sum(-1), torch.ones(500), atol=1e-6)
    ratio = weights.amax(-1) / weights.amin(-1)
    assert float(ratio.median()) > 2 and float(weights.std()) > 0.05


def test_moe_align_block_size_by_hand() -> None:
    op = small("moe_align_block_size", {"tokens": 11, "experts": 6, "top_k": 3, "block_size": 4})
    inputs = make(op, "cpu")
    flat = inputs["topk_ids"].flatten().tolist()
    order, owners = [], []
    for expert in range(6):
        mine = [position for position, chosen in enumerate(flat) if chosen == expert]
        while len(mine) % 4:
            mine.append(33)
        order += mine
        owners += [expert] * (len(mine) // 4)
    assert [value.tolist() for value in op.reference(**inputs)] == [order, owners, [len(order)]]


def test_moe_count_and_sort_by_hand() -> None:
    op = small("moe_count_and_sort", {"tokens": 11, "experts": 6, "top_k": 3})
    inputs = make(op, "cpu")
    flat = inputs["topk_ids"].flatten().tolist()
    order = sorted(range(33), key=lambda position: (flat[position], position))
    counts = [flat.count(expert) for expert in range(6)]
    assert [value.tolist() for value in op.reference(**inputs)] == [order, counts, [sum(counts[:end]) for end in range(7)]]


def test_experts_without_tokens_have_no_block() -> None:
    op = small("moe_align_block_size", {"tokens": 2, "experts": 9, "top_k": 1, "block_size": 2})
    order, owners, _ = op.reference(torch.tensor([[7], [2]], dtype=torch.int32))
    assert order.tolist() == [1, 2, 0, 2] and owners.tolist() == [2, 7]


def test_moe_sum_reduce_by_hand() -> None:
    op = small("moe_sum_reduce", {"tokens": 3, "top_k": 5, "hidden": 7, "scale": 2.5})
    inputs = make(op, "cpu")
    columns = [row(inputs["expert_outputs"][1, :, column]) for column in range(7)]
    assert row(op.reference(**inputs)[1]) == pytest.approx([2.5 * sum(column) for column in columns], rel=1e-12)


def test_a_single_rounding_of_the_sum_is_all_that_fits() -> None:
    (tolerance,) = small("moe_sum_reduce", {"tokens": 1, "top_k": 2, "hidden": 1}).tolerance.values()
    value = 1 + 2**-8 - 2**-16
    assert abs(as_bf16(value) - value) <= tolerance.atol + tolerance.rtol * value < 2**-7


def aligned() -> tuple[Operator, dict[str, Tensor], dict[str, Tensor]]:
    """Expert 0: positions 0 and 3, expert 1: 1, 4 and 5, expert 2: 2, in blocks of two; 6 is padding."""
    op = small("moe_align_block_size", {"tokens": 3, "experts": 3, "top_k": 2, "block_size": 2})
    inputs = {"topk_ids": torch.tensor([[0, 1], [2, 0], [1, 1]], dtype=torch.int32)}
    order, owners = torch.tensor([0, 3, 1, 4, 5, 6, 2, 6]), torch.tensor([0, 1, 1, 2])
    return op, inputs, {"sorted_token_ids": order.int(), "expert_ids": owners.int(), "num_tokens_post_pad": torch.tensor([8])}


def sorted_flaw(order: list[int]) -> str | None:
    op, inputs, want = aligned()
    return op.flaw(inputs, {**want, "sorted_token_ids": torch.tensor(order, dtype=torch.int32)}, want)


@pytest.mark.parametrize("order", [[0, 3, 1, 4, 5, 6, 2, 6], [3, 0, 5, 1, 4, 6, 2, 6], [3, 0, 6, 5, 4, 1, 6, 2]])
def test_the_positions_of_an_expert_may_come_in_any_order(order: list[int]) -> None:
    assert sorted_flaw(order) is None


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ([0, 1, 3, 4, 5, 6, 2, 6], "sorted_token_ids[1] is 1, which goes to expert 1; expected one that goes to expert 0"),
        ([0, 0, 1, 4, 5, 6, 2, 6], "sorted_token_ids holds position 0 more than once"),
        ([0, 3, 1, 4, 5, 5, 2, 6], "sorted_token_ids holds position 5 more than once"),
        ([0, 3, 1, 4, 6, 6, 2, 6], "sorted_token_ids holds position 5 nowhere"),
        ([0, 3, 1, 4, 5, 7, 2, 6], "sorted_token_ids[5] is 7; expected 0 to 6, which is padding"),
        ([0, 3, 1, 4, 5, 6, 2, -1], "sorted_token_ids[7] is -1; expected 0 to 6, which is padding"),
    ],
)
def test_misplaced_positions_are_named(order: list[int], sentence: str) -> None:
    assert sorted_flaw(order) == sentence


def test_a_sorted_list_without_padding_has_no_place_for_it() -> None:
    op = small("moe_count_and_sort", {"tokens": 3, "experts": 3, "top_k": 2})
    inputs = {"topk_ids": torch.tensor([[0, 1], [2, 0], [1, 2]], dtype=torch.int32)}
    want = results(op, op.reference(**inputs))
    assert op.flaw(inputs, {**want, "sorted_token_ids": torch.tensor([3, 0, 4, 1, 5, 2])}, want) is None
    flaw = op.flaw(inputs, {**want, "sorted_token_ids": torch.tensor([3, 0, 4, 6, 5, 2])}, want)
    assert flaw == "sorted_token_ids[3] is 6; expected 0 to 5"
