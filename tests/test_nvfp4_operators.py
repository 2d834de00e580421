"""NVFP4: its codes, scales and their order by hand, and the operators against each other."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from samples.nvfp4 import _MOE, _Drawn, layer
from test_operators import e4m3, results, row, small
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_dsbench import providers, tensors
from pytest_dsbench.check import Wrong, compare
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import _nvfp4
from pytest_dsbench.operators._deepseek_routing import choices, drawn_logits, grouped_topk, spread, touched
from pytest_dsbench.operators._nvfp4 import decoded, e2m1, linear, pack, quantise, swizzle, unpack, unswizzle, widened
from pytest_dsbench.operators._nvfp4_experts import grouped_scales, places, row_scales
from pytest_dsbench.operators._routing import loads
from pytest_dsbench.providers.torch_native import nvfp4
from pytest_dsbench.tensors import Maker, make

providers.load()
#: What each of the 16 codes is, from the OCP's table of E2M1.
E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0]
QUANT = {"tokens": 61, "experts": 5, "top_k": 2, "hidden": 48}


def close(got: Tensor, want: Tensor, off: float = 2e-6) -> None:
    assert float((got.double() - want.double()).norm()) <= off * float(want.double().norm())


def test_every_code_has_its_value() -> None:
    values = decoded(torch.arange(16, dtype=torch.uint8))
    # The low half is the first; the high half of all of these is code 0.
    assert values[::2].tolist() == E2M1 and values[8 * 2].signbit() and not values[1::2].any()
    assert decoded(16 * torch.arange(16, dtype=torch.uint8))[1::2].tolist() == E2M1


def test_codes_are_the_nearest_ones() -> None:
    values = torch.cat([torch.linspace(-7, 7, 9973), torch.tensor(E2M1)])
    for value, code in zip(values.tolist(), e2m1(values).tolist(), strict=True):
        assert abs(abs(E2M1[code]) - min(abs(value), 6.0)) == min(abs(step - min(abs(value), 6.0)) for step in E2M1[:8])
        assert (code > 7) == (math.copysign(1, value) < 0)


def test_halfway_goes_to_the_even_code() -> None:
    for code in range(7):
        middle = torch.tensor((E2M1[code] + E2M1[code + 1]) / 2)
        even = code + code % 2
        assert e2m1(torch.stack([middle, -middle])).tolist() == [even, even + 8]
        beside = [torch.nextafter(middle, torch.tensor(end)) for end in (0.0, 7.0)]
        assert e2m1(torch.stack(beside)).tolist() == [code, code + 1]


def test_beyond_the_largest_is_the_largest() -> None:
    assert e2m1(torch.tensor([6.1, -6.1, 1e30, torch.inf, -torch.inf])).tolist() == [7, 15, 7, 7, 15]


def test_packing_and_back() -> None:
    codes = torch.randint(0, 16, (3, 5, 32), dtype=torch.uint8)
    assert torch.equal(unpack(pack(codes)), codes)
    assert pack(torch.tensor([1, 2, 15, 0], dtype=torch.uint8)).tolist() == [0x21, 0x0F]
    packed = torch.arange(256, dtype=torch.uint8).view(16, 16)
    assert torch.equal(pack(unpack(packed)), packed)
    assert torch.equal(decoded(packed), torch.tensor(E2M1)[unpack(packed).long()])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 4), (128, 4), (129, 5), (300, 12)])
def test_swizzled_scales_lie_where_the_formula_says(rows: int, columns: int) -> None:
    scales = torch.randint(1, 120, (rows, columns), dtype=torch.uint8)
    swizzled = swizzle(scales.view(torch.float8_e4m3fn))
    high, wide = -(-rows // 128) * 128, -(-columns // 4) * 4
    assert swizzled.shape == (high, wide) and swizzled.dtype == torch.float8_e4m3fn
    left = swizzled.view(torch.uint8).flatten().tolist()
    for i in range(rows):
        for j in range(columns):
            place = (i // 128) * (wide // 4) * 512 + (j // 4) * 512 + (i % 32) * 16 + ((i % 128) // 32) * 4 + j % 4
            assert left[place] == int(scales[i, j])
            left[place] = 0
    assert not any(left)
    assert torch.equal(linear(swizzled, rows, 16 * columns).view(torch.uint8), scales)
    assert torch.equal(swizzle(unswizzle(swizzled)).view(torch.uint8), swizzled.view(torch.uint8))


def test_matrices_are_swizzled_one_by_one() -> None:
    scales = torch.randint(0, 120, (3, 2, 130, 6), dtype=torch.uint8)
    together = swizzle(scales)
    assert together.shape == (3, 2, 256, 8)
    assert all(torch.equal(together[i, j], swizzle(scales[i, j])) for i in range(3) for j in range(2))


def test_scales_of_experts_begin_at_their_own_rows() -> None:
    bounds, tiles = torch.tensor([0, 130, 130, 135, 263]).int(), torch.tensor([0, 256, 256, 384, 512]).int()
    scales = torch.randint(1, 120, (263, 3), dtype=torch.uint8)
    together = grouped_scales(scales, 512, bounds, tiles)
    for expert, (begin, tile) in enumerate(zip(bounds[:-1].tolist(), tiles[:-1].tolist(), strict=True)):
        mine = scales[begin : int(bounds[expert + 1])]
        assert torch.equal(together[tile : int(tiles[expert + 1])], swizzle(mine))
    assert torch.equal(row_scales(together, 263, 48, bounds, tiles), scales)
    assert places(263, bounds, tiles)[[0, 129, 130, 134, 135, 262]].tolist() == [0, 129, 256, 260, 384, 511]


@pytest.mark.parametrize("size", [1.0, 1e-4, 300.0])
def test_quantised_values_are_within_half_a_step(size: float) -> None:
    """Within half the step of the code, a quarter of its power of two below 6, or by as much as a rounded scale cuts 6 off."""
    torch.manual_seed(3)
    x = torch.randn(257, 96) * size * torch.rand(257, 1)
    whole = 448 * 6 / float(x.abs().max())
    packed, scales = quantise(x, whole)
    back = widened(packed, scales) / whole
    blocks, wide = x.view(257, 6, 16), scales.float()[..., None] / whole
    # The smallest scale that is normal; below it scales keep fewer than four bits.
    normal = scales.float() >= 2.0**-6
    ratio = blocks.abs().amax(-1) / 6 / wide[..., 0]
    assert bool((ratio[normal] <= 1 + 2**-4).all()) and bool((ratio[normal] >= 1 - 2**-4).all())
    step = torch.where(blocks.abs() < 2 * wide, 0.5, torch.where(blocks.abs() < 4 * wide, 1.0, 2.0)) * wide
    cut = (blocks.abs() - 6 * wide).clamp_min(0)
    off = (back.view(257, 6, 16) - blocks).abs()
    assert bool((off <= torch.maximum(step / 2, cut) * (1 + 1e-5)).all())
    assert float((back - x).norm()) < 0.12 * float(x.norm())
    # And it is no finer than that: some are nearly half a step off.
    assert float((off / step).max()) > 0.49


def test_products_of_codes_and_scales_are_exact_in_16_bits() -> None:
    """On a GPU torch multiplies them as bf16."""
    scales = torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn)
    products = torch.tensor(E2M1)[:, None] * scales.float()
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal(products.to(dtype).float(), products)


def by_hand(block: list[float], whole: float) -> tuple[list[float], float]:
    """Values of the codes of a block, and its scale, by search through all codes."""
    wanted = min(whole * max(abs(value) for value in block) / 6, 448.0)
    scale = min(range(127), key=lambda code: (abs(e4m3(code, 7) - wanted), code & 1))
    if not scale:
        return [0.0] * 16, 0.0
    found = []
    for value in block:
        at = value * whole / e4m3(scale, 7)
        found.append(math.copysign(E2M1[min(range(8), key=lambda code: (abs(E2M1[code] - abs(at)), code & 1))], value))
    return found, e4m3(scale, 7)


def test_scaled_fp4_experts_quant_by_hand() -> None:
    op = small("scaled_fp4_experts_quant", {**QUANT, "tokens": 5})
    inputs = make(op, "cpu")
    codes, scales = op.reference(**inputs)
    values, begins = decoded(codes), inputs["expert_offsets"].tolist()
    plain = row_scales(scales, 10, 48, inputs["expert_offsets"], inputs["blockscale_offsets"]).float()
    assert begins[0] == 0 and begins[-1] == 10 and inputs["blockscale_offsets"][-1] == len(scales)
    for expert in range(5):
        for place in range(begins[expert], begins[expert + 1]):
            x = row(inputs["input"][place])
            for block in range(3):
                some = slice(16 * block, 16 * block + 16)
                right, scale = by_hand(x[some], float(inputs["input_global_scale"][expert]))
                assert row(values[place, some]) == right and float(plain[place, block]) == scale


def test_each_experts_largest_value_has_the_largest_code_and_scale() -> None:
    op = small("scaled_fp4_experts_quant", {**QUANT, "tokens": 200})
    inputs = make(op, "cpu")
    codes, scales = op.reference(**inputs)
    assert op.experts == 5 and bool((decoded(codes).abs().amax(-1) == 6).all())
    offsets = inputs["expert_offsets"], inputs["blockscale_offsets"]
    largest = row_scales(scales, op.rows, 48, *offsets).float().amax(-1)
    bounds = offsets[0].tolist()
    for begin, end in pairwise(bounds):
        assert begin == end or float(largest[begin:end].max()) == 448


def quantised() -> tuple[Operator, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    op = small("scaled_fp4_experts_quant", QUANT)
    inputs = make(op, "cpu")
    want = results(op, op.reference(**inputs))
    return op, inputs, want, {key: value.clone() for key, value in want.items()}


def test_padding_of_scales_may_hold_anything() -> None:
    op, inputs, want, got = quantised()
    real = torch.zeros(got["scales"].shape, dtype=torch.uint8)
    real[places(op.rows, inputs["expert_offsets"], inputs["blockscale_offsets"]), :3] = 1
    padding = swizzle(real) == 0
    assert int((~padding).sum()) == op.rows * 3
    got["scales"].view(torch.uint8)[padding] = 0x7F
    compare(op, inputs, got, want)
    got["scales"].view(torch.uint8)[~padding] = 0x7F
    with pytest.raises(Wrong, match=r"the scale of block 0 of row 0 is nan; expected"):
        compare(op, inputs, got, want)


def test_a_code_one_step_off_is_found_and_a_true_tie_is_not() -> None:
    op, inputs, want, got = quantised()
    got["codes"][17, 5] ^= 0x10
    with pytest.raises(Wrong, match=r"the code of element 11 of row 17 is .*; expected .* with its scale"):
        compare(op, inputs, got, want)
    # 5 of 6 is halfway between 4 and 6.
    inputs["input"][0, :16] = torch.tensor([6.0, 5.0, *[0.0] * 14]).bfloat16()
    inputs["input_global_scale"].fill_(1.0)
    want = results(op, op.reference(**inputs))
    assert int(want["codes"][0, 0]) == 0x67
    for byte in (0x67, 0x77):
        want["codes"][0, 0] = byte
        compare(op, inputs, want, want)
    want["codes"][0, 0] = 0x57
    with pytest.raises(Wrong, match=r"the code of element 1 of row 0 is 3; expected 4 to 6 with its scale"):
        compare(op, inputs, want, want)


def test_zeros_become_zeros() -> None:
    op = small("scaled_fp4_experts_quant", QUANT)
    inputs = make(op, "cpu", recipe="zeros")
    assert bool(inputs["input_global_scale"].isfinite().all())
    codes, scales = op.reference(**inputs)
    assert not codes.any() and not scales.view(torch.uint8).any()


def test_scaled_fp4_mm_by_hand() -> None:
    op = small("scaled_fp4_mm", {"m": 3, "n": 32, "k": 64})
    inputs = make(op, "cpu")
    left, right = ([[E2M1[code] for code in line] for line in unpack(inputs[key]).tolist()] for key in ("a", "b"))

    def scale(of: str, i: int, k: int) -> float:
        """Of row i, below 128, and element k, where a row has one tile of four scales."""
        return e4m3(int(inputs[of].view(torch.uint8).flatten()[i % 32 * 16 + i // 32 * 4 + k // 16]), 7)

    out = op.reference(**inputs)
    for i in range(3):
        for j in range(32):
            total = sum(left[i][k] * scale("a_scales", i, k) * right[j][k] * scale("b_scales", j, k) for k in range(64))
            assert float(out[i, j]) == pytest.approx(total * float(inputs["alpha"]), rel=1e-5, abs=1e-6)


def group(**dims: int) -> tuple[Operator, dict[str, Tensor]]:
    op = small("fp4_group_mm", {"tokens": 150, "experts": 6, "top_k": 3, "n": 160, "k": 96, **dims})
    return op, make(op, "cpu")


def test_a_group_is_a_product_per_expert() -> None:
    op, inputs = group()
    out, bounds = op.reference(**inputs), inputs["expert_offsets"].tolist()
    tiles, seen = inputs["blockscale_offsets"].tolist(), 0
    for expert, (count, n, k) in enumerate(inputs["problem_sizes"].tolist()):
        assert (n, k) == (160, 96) and count == bounds[expert + 1] - bounds[expert]
        if count:
            one = small("scaled_fp4_mm", {"m": count, "n": n, "k": k})
            mine = {
                "a": inputs["a"][bounds[expert] : bounds[expert + 1]],
                "b": inputs["b"][expert],
                "a_scales": inputs["a_scales"][tiles[expert] : tiles[expert + 1]],
                "b_scales": inputs["b_scales"][expert],
                "alpha": inputs["alphas"][expert : expert + 1],
            }
            close(out[bounds[expert] : bounds[expert + 1]], one.reference(**mine))
            seen += 1
    assert seen == 6 and any(count % 128 for count in inputs["problem_sizes"][:, 0].tolist())


@pytest.mark.parametrize("content", [0, 1, 2])
def test_loads_are_dealt_out_anew(content: int) -> None:
    op = small("fp4_group_mm", {"tokens": 9, "experts": 16, "top_k": 2, "n": 32, "k": 32})
    inputs = make(op, "cpu", content)
    counts = inputs["expert_offsets"].diff()
    assert sorted(counts.tolist()) == sorted(loads(9, 16, 2)) and counts.tolist() != sorted(counts.tolist())
    assert torch.equal(inputs["problem_sizes"][:, 0], counts)
    assert torch.equal(inputs["blockscale_offsets"].diff(), (counts + 127) // 128 * 128)
    assert {key: value.shape for key, value in inputs.items()} == {key: value.shape for key, value in make(op, "meta").items()}


def test_one_expert_is_a_plain_product() -> None:
    op, inputs = group(experts=1, top_k=1)
    a = widened(inputs["a"], linear(inputs["a_scales"], 150, 96)).double()
    b = widened(inputs["b"][0], linear(inputs["b_scales"][0], 160, 96)).double()
    close(op.reference(**inputs), a @ b.T * inputs["alphas"].double())


def moe(**dims: Any) -> tuple[Operator, dict[str, Tensor]]:
    op = small("fp4_block_scale_moe", {**_MOE, **dims})
    return op, make(op, "cpu")


def test_one_expert_is_a_plain_mlp() -> None:
    op, inputs = moe(experts=1, top_k=1, groups=1, kept_groups=1, scaling=1.5)
    x = widened(inputs["hidden_states"], inputs["hidden_states_scale"])
    w1, w2 = (widened(inputs[f"gemm{n}_weights"][0], inputs[f"gemm{n}_weights_scale"][0]) for n in (1, 2))
    gate, up = (x @ w1.T).chunk(2, -1)
    wide = torch.nn.functional.silu(gate * inputs["output1_scale_gate_scalar"]) * up * inputs["output1_scale_scalar"]
    act = widened(*quantise(wide, 1.0))
    close(op.reference(**inputs), act @ w2.T * inputs["output2_scale_scalar"] * 1.5)
    # Quantising in between is most of what a plain MLP differs by, and not all of it would pass.
    plain = wide @ w2.T * inputs["output2_scale_scalar"] * 1.5
    apart = float((op.reference(**inputs) - plain).norm() / plain.norm())
    assert 0.05 < apart < 0.15


def test_a_layer_is_the_chain_of_its_parts() -> None:
    """Quantised rows of each expert, their product, the activation quantised, the second product, and the weighted sum."""
    dims = {"tokens": 37, "hidden": 96, "intermediate": 96, "experts": 16, "top_k": 4}
    op, inputs = moe(**dims)
    weights, ids = grouped_topk(inputs["routing_logits"], inputs["routing_bias"], 4, 2, 4, 2.5)
    order = ids.flatten().sort(stable=True).indices
    counts = ids.flatten().bincount(minlength=16)
    bounds, tiles = (torch.cat([torch.zeros(1), sizes.cumsum(0)]).int() for sizes in (counts, (counts + 127) // 128 * 128))
    total = int(tiles[-1])

    def product(number: int, codes: Tensor, scales: Tensor, n: int, k: int) -> Tensor:
        """By fp4_group_mm, whose loads are these."""
        part = small("fp4_group_mm", {"tokens": 37, "experts": 16, "top_k": 4, "n": n, "k": k})
        return part.reference(
            a=codes,
            b=inputs[f"gemm{number}_weights"],
            a_scales=grouped_scales(scales, total, bounds, tiles),
            b_scales=swizzle(inputs[f"gemm{number}_weights_scale"]),
            alphas=inputs[f"output{number}_scale{'_gate' if number == 1 else ''}_scalar"],
            problem_sizes=torch.stack([counts, torch.full_like(counts, n), torch.full_like(counts, k)], 1).int(),
            expert_offsets=bounds,
            blockscale_offsets=tiles,
        )

    tokens = order // 4
    both = product(1, inputs["hidden_states"][tokens], inputs["hidden_states_scale"][tokens], 192, 96)
    gate, up = both.chunk(2, -1)
    between = (inputs["output1_scale_scalar"] / inputs["output1_scale_gate_scalar"])[ids.flatten()[order].long(), None]
    act = torch.nn.functional.silu(gate) * up * between
    given = torch.empty(148, 96)
    given[order] = product(2, *quantise(act, 1.0), 96, 96)
    out = (given.view(37, 4, 96) * weights[..., None]).sum(1)
    # A code at the edge of two may fall the other way where a sum ran in another order.
    close(out, op.reference(**inputs), 5e-3)


def test_the_layer_that_the_cheats_vary_is_right() -> None:
    op, inputs = moe()
    close(layer(op, inputs), op.reference(**inputs), 5e-3)


def test_a_kernel_that_rounds_to_bf16_before_it_quantises_passes() -> None:
    """What the tolerance is for."""
    op, inputs = moe(tokens=131, hidden=192, intermediate=128)
    out = layer(op, inputs, between=lambda act: widened(*quantise(act.bfloat16(), 1.0))).bfloat16()
    found = compare(op, inputs, {"out": out}, {"out": op.reference(**inputs)})["out"]
    assert 5e-3 < found.rel_l2 < 6e-2
    with pytest.raises(Wrong):
        compare(op, inputs, {"out": (out * 1.13)}, {"out": op.reference(**inputs)})


def test_activations_reach_the_whole_range_of_their_scales() -> None:
    op, inputs = moe(tokens=64, hidden=256, intermediate=256)
    seen: list[Tensor] = []

    def between(act: Tensor) -> Tensor:
        seen.append(quantise(act, 1.0)[1].float())
        return act

    layer(op, inputs, between=between)
    assert 50 < float(seen[0].max()) <= 448 and float(seen[0].min()) > 2.0**-3


def test_outputs_are_of_ordinary_size() -> None:
    for name, dims in (
        ("scaled_fp4_mm", {"m": 64, "n": 96, "k": 256}),
        ("fp4_group_mm", {"tokens": 40, "experts": 6, "top_k": 2, "n": 96, "k": 256}),
        ("fp4_block_scale_moe", {**_MOE, "hidden": 256, "intermediate": 128}),
    ):
        op = small(name, dims)
        assert 0.3 < float(op.reference(**make(op, "cpu")).square().mean().sqrt()) < 3


def routed_by_hand(logits: list[float], bias: list[float], groups: int, kept: int, top_k: int) -> dict[int, float]:
    scores = [1 / (1 + math.exp(-value)) for value in logits]
    choice = [score + more for score, more in zip(scores, bias, strict=True)]
    size = len(logits) // groups
    members = [list(range(size * group, size * group + size)) for group in range(groups)]
    best = sorted(members, key=lambda group: sum(sorted(choice[one] for one in group)[-2:]), reverse=True)[:kept]
    chosen = sorted((one for group in best for one in group), key=lambda one: choice[one], reverse=True)[:top_k]
    return {one: scores[one] / sum(scores[other] for other in chosen) for one in chosen}


@pytest.mark.parametrize(("groups", "kept", "top_k"), [(4, 2, 4), (1, 1, 5), (12, 5, 3), (3, 3, 12)])
def test_routing_by_hand(groups: int, kept: int, top_k: int) -> None:
    torch.manual_seed(groups)
    logits, bias = torch.randn(19, 12) * 2, torch.randn(12) / 4
    weights, ids = grouped_topk(logits, bias, groups, kept, top_k, 2.5)
    assert weights.dtype == torch.float32 and ids.dtype == torch.int32
    for token in range(19):
        right = routed_by_hand(row(logits[token]), row(bias), groups, kept, top_k)
        given = dict(zip(ids[token].tolist(), row(weights[token]), strict=True))
        assert list(given) == list(right)
        assert [given[one] for one in right] == pytest.approx([2.5 * share for share in right.values()], rel=1e-6)


def test_very_unlikely_experts_still_have_weights() -> None:
    weights, ids = grouped_topk(torch.full((1, 4), -200.0), torch.tensor([0.1, 0.45, 0.2, 0.3]), 2, 1, 2)
    assert ids.tolist() == [[1, 0]] and weights.tolist() == [[0.5, 0.5]]


ROUTINGS = [(1, 256, 8, 4, 8), (128, 256, 8, 4, 8), (7, 12, 4, 2, 3), (5, 6, 1, 1, 6), (9, 8, 8, 3, 2), (33, 32, 4, 3, 8)]


@pytest.mark.parametrize(("tokens", "experts", "groups", "kept", "top_k"), ROUTINGS)
@pytest.mark.parametrize("seed", [1, 2])
def test_drawn_routing_has_one_answer(tokens: int, experts: int, groups: int, kept: int, top_k: int, seed: int) -> None:
    logits, bias = drawn_logits(Maker(seed, "cpu"), tokens, experts, groups, kept, top_k)
    assert bool(logits.isfinite().all()) and bias.dtype == torch.bfloat16
    _, ids = grouped_topk(logits, bias, groups, kept, top_k)
    assert len(ids.unique()) == touched(tokens, experts, groups, kept, top_k)
    choice = (logits.double().sigmoid() + bias.double()).view(tokens, groups, -1)
    # The worst of the chosen is far above the best of the others in the groups that are kept ...
    left = choices(logits.double().sigmoid(), bias, groups, kept)
    best = left.sort(-1, descending=True).values
    if top_k < kept * (experts // groups):
        assert float((best[:, top_k - 1] - best[:, top_k]).min()) > 0.15
    # ... and so is each group that has a chosen one above each that has none.
    worth = choice.topk(min(2, choice.shape[-1]), -1).values.sum(-1)
    has = torch.zeros(worth.shape, dtype=torch.bool).scatter_(-1, ids.long() // (experts // groups), True)
    if not bool(has.all()):
        gaps = worth.masked_fill(~has, torch.inf).amin(-1) - worth.masked_fill(has, -torch.inf).amax(-1)
        assert float(gaps.min()) > 0.015
    used = spread(top_k, kept, experts // groups)
    assert bool((has.sum(-1) == used).all())


def test_neither_logits_nor_bias_nor_groups_can_be_left_out() -> None:
    logits, bias = drawn_logits(Maker(5, "cpu"), 128, 256, 8, 4, 8)
    right = grouped_topk(logits, bias, 8, 4, 8)[1].sort(-1).values
    for wrong in (
        grouped_topk(logits, 0 * bias, 8, 4, 8),
        grouped_topk(0 * logits, bias, 8, 4, 8),
        grouped_topk(logits, bias, 1, 1, 8),
    ):
        assert float((wrong[1].sort(-1).values != right).any(-1).float().mean()) > 0.7


def test_another_content_is_routed_to_others() -> None:
    op = small("fp4_block_scale_moe", _MOE)
    first, second = (make(op, "cpu", content) for content in (0, 1))
    ids = [grouped_topk(one["routing_logits"], one["routing_bias"], 4, 2, 4)[1] for one in (first, second)]
    assert not torch.equal(*ids)
    assert {len(one.unique()) for one in ids} == {op.busy}


@pytest.mark.parametrize("recipe", ["random", "zeros", "huge_channel"])
@pytest.mark.parametrize("swizzled", [False, True])
def test_nvfp4_inputs(recipe: Any, swizzled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Blocks far smaller than the tensor, so that the draw is repeated and the rows come in several pieces.
    monkeypatch.setattr(tensors, "_BLOCK", 20011)
    maker = Maker(1, "cpu", recipe)
    codes, scales, whole = maker.nvfp4((2, 300, 96), swizzled)
    empty = Maker(0, "meta").nvfp4((2, 300, 96), swizzled)
    assert [(one.shape, one.dtype) for one in (codes, scales, whole)] == [(one.shape, one.dtype) for one in empty]
    assert codes.shape == (2, 300, 48) and scales.shape == ((2, 384, 8) if swizzled else (2, 300, 6))
    assert maker.guarded.broken() is None
    plain = linear(scales, 300, 96) if swizzled else scales
    values = widened(codes, plain) / whole
    if recipe == "zeros":
        assert not values.any()
        return
    # Of a huge channel, the largest value that was drawn need not lie in it.
    assert float(decoded(codes).abs().max()) == 6 and (448 if recipe == "random" else 200) <= float(plain.float().max()) <= 448
    small_ones = values[..., [column for column in range(96) if recipe == "random" or column // 16 != 3]]
    assert abs(float(small_ones.mean())) < 0.05 and abs(float(small_ones.std()) - 1) < 0.05
    assert not torch.equal(values[0, 0], values[0, 1]) and not torch.equal(values[0, 0], values[1, 0])
    assert recipe == "random" or float(values[..., 48].std()) == pytest.approx(1000, rel=0.1)
    # What it draws is what the quantisation of this module gives back.
    again, its = quantise(values, whole)
    assert torch.equal(widened(again, its), widened(codes, plain))


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the bytes of the largest tensor that any operation gives, but for the buffers of the inputs themselves."""

    nbytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(value, Tensor) and value.dtype.is_floating_point and value.dtype.itemsize > 1 and value._base is None:
                self.nbytes = max(self.nbytes, value.nbytes)
        return out


def test_weights_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "_BLOCK", 40009)
    with Largest() as seen:
        Maker(1, "cpu").nvfp4((8, 1024, 256), swizzled=True)
    assert 0 < seen.nbytes <= 4 * 3 * 40009


def test_one_expert_at_a_time_is_widened() -> None:
    op = small("fp4_block_scale_moe", {**_MOE, "tokens": 8, "hidden": 256, "intermediate": 128, "experts": 24})
    inputs = make(op, "cpu")
    for run in (lambda: op.reference(**inputs), op.providers["torch"].prepare(op, **inputs)):
        with Largest() as seen:
            run()
        # The indices of a byte's two codes are of four bytes as its values are.
        assert 0 < seen.nbytes <= 4 * 2 * 128 * 256


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("scaled_fp4_mm", {"m": 131, "n": 160, "k": 288}),
        ("fp4_group_mm", {"tokens": 150, "experts": 6, "top_k": 3, "n": 160, "k": 96}),
        ("fp4_block_scale_moe", _MOE),
    ],
)
def test_torch_is_right_in_bf16_too(name: str, dims: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As it multiplies on a GPU."""
    monkeypatch.setattr(nvfp4, "_wide", lambda *_: torch.bfloat16)
    op = small(name, dims)
    inputs = make(op, "cpu")
    found = compare(op, inputs, {"out": op.providers["torch"].prepare(op, **inputs)()}, {"out": op.reference(**inputs)})["out"]
    assert found.rel_l2 > 1.5e-3


def test_values_of_codes_are_told_once() -> None:
    assert list(_nvfp4.VALUES) == E2M1[:8] and _nvfp4.WHOLE == 2688


def test_production_sizes_need_no_memory_to_be_known() -> None:
    """256 experts of DeepSeek-R1: 3.8 GB of codes for each matrix of a layer, on the meta device."""
    op = small(
        "fp4_block_scale_moe",
        {"tokens": 128, "hidden": 7168, "intermediate": 2048, "experts": 256, "top_k": 8, "groups": 8, "kept_groups": 4},
    )
    inputs = make(op, "meta")
    assert inputs["gemm1_weights"].shape == (256, 4096, 3584) and inputs["gemm2_weights_scale"].shape == (256, 7168, 128)
    drawn = op.inputs(_Drawn())
    ids = grouped_topk(drawn["routing_logits"], drawn["routing_bias"], 8, 4, 8)[1]
    assert len(ids.unique()) == op.busy and 245 <= op.busy <= 256
    expert = 3 * 7168 * 2048 * (1 / 2 + 1 / 16)
    assert op.work().read == pytest.approx(op.busy * expert, rel=1e-3)
