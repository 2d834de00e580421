"""NVFP4: products, quantisation, and a layer of experts."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from pytest_dsbench.operators import find
from pytest_dsbench.operators._deepseek_routing import grouped_topk
from pytest_dsbench.operators._nvfp4 import linear, quantise, swizzle, unswizzle, widened
from pytest_dsbench.operators._nvfp4_experts import grouped_scales, owners, row_scales
from pytest_dsbench.tensors import Maker

from . import Cheat, Tensors

SMALL: list[tuple[str, dict[str, Any]]] = [
    ("scaled_fp4_mm", {"m": 1, "n": 32, "k": 64}),
    ("scaled_fp4_mm", {"m": 131, "n": 160, "k": 288}),
    ("scaled_fp4_mm", {"m": 33, "n": 96, "k": 32, "out_dtype": "fp16"}),
    ("scaled_fp4_experts_quant", {"tokens": 1, "experts": 5, "top_k": 1, "hidden": 16}),
    ("scaled_fp4_experts_quant", {"tokens": 150, "experts": 6, "top_k": 3, "hidden": 112}),
    ("scaled_fp4_experts_quant", {"tokens": 9, "experts": 2, "top_k": 2, "hidden": 80, "dtype": "fp16"}),
    ("fp4_group_mm", {"tokens": 1, "experts": 5, "top_k": 2, "n": 32, "k": 64}),
    ("fp4_group_mm", {"tokens": 150, "experts": 6, "top_k": 3, "n": 160, "k": 96}),
    ("fp4_group_mm", {"tokens": 9, "experts": 4, "top_k": 1, "n": 64, "k": 288, "out_dtype": "fp16"}),
]
_MOE = {"tokens": 37, "hidden": 96, "intermediate": 80, "experts": 16, "top_k": 4, "groups": 4, "kept_groups": 2}
SMALL += [
    ("fp4_block_scale_moe", _MOE),
    ("fp4_block_scale_moe", {**_MOE, "tokens": 1, "hidden": 64, "intermediate": 48, "scaling": 1.0}),
    ("fp4_block_scale_moe", {**_MOE, "hidden": 64, "experts": 6, "top_k": 3, "groups": 1, "kept_groups": 1}),
]
CONTRADICTIONS = [
    ("scaled_fp4_mm", {"m": 1, "n": 32, "k": 48}, "k = 48 is no multiple of 32"),
    ("scaled_fp4_mm", {"m": 1, "n": 16, "k": 32}, "n = 16 is no multiple of 32"),
    ("scaled_fp4_experts_quant", {"tokens": 1, "experts": 4, "top_k": 1, "hidden": 24}, "hidden = 24 is no multiple of 16"),
    ("scaled_fp4_experts_quant", {"tokens": 1, "experts": 4, "top_k": 5, "hidden": 16}, "top_k = 5 of only 4 experts"),
    ("fp4_group_mm", {"tokens": 1, "experts": 4, "top_k": 1, "n": 48, "k": 32}, "n = 48 is no multiple of 32"),
    ("fp4_group_mm", {"tokens": 1, "experts": 4, "top_k": 5, "n": 32, "k": 32}, "top_k = 5 of only 4 experts"),
    ("fp4_block_scale_moe", {**_MOE, "intermediate": 40}, "intermediate = 40 is no multiple of 16"),
    ("fp4_block_scale_moe", {**_MOE, "experts": 18}, "experts = 18 is no multiple of groups = 4"),
    ("fp4_block_scale_moe", {**_MOE, "kept_groups": 5}, "kept_groups = 5 of only 4 groups"),
    ("fp4_block_scale_moe", {**_MOE, "top_k": 5}, "top_k = 5 does not spread evenly over at most 2 groups of 4 experts"),
]


class _Drawn(Maker):
    """Draws for real what says which expert gets how much; codes and scales are on the meta device, and cost nothing."""

    def __init__(self) -> None:
        super().__init__(7, "cpu")

    def nvfp4(self, shape: tuple[int, ...], swizzled: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        codes, scales, _ = Maker(0, "meta").nvfp4(shape, swizzled)
        return codes, scales, torch.ones(1)


def _size(values: Tensor) -> int:
    return values.numel() * values.itemsize


def _loads(op: Any) -> list[int]:
    """Rows of each expert, as they are drawn."""
    count, top_k = op.experts, op.top_k
    small = find("scaled_fp4_experts_quant").build({"tokens": op.tokens, "experts": count, "top_k": top_k, "hidden": 16})
    return list(small.inputs(_Drawn())["expert_offsets"].diff().tolist())


def _needed_mm(op: Any, inputs: Tensors) -> tuple[int, int]:
    """Everything but the padding of the scales: one of them for 8 bytes of codes."""
    codes = _size(inputs["a"]) + _size(inputs["b"])
    return codes + codes // 8 + 4, op.outputs()["out"].nbytes


def _needed_quant(op: Any, inputs: Tensors) -> tuple[int, int]:
    codes = op.outputs()["codes"].nbytes
    return sum(_size(value) for value in inputs.values()), codes + codes // 8


def _needed_group(op: Any, inputs: Tensors) -> tuple[int, int]:
    """Without padding, and without the experts that have no row."""
    touched = sum(load > 0 for load in _loads(op))
    codes = _size(inputs["a"]) + _size(inputs["b"][:touched])
    tables = sum(_size(inputs[name]) for name in ("problem_sizes", "expert_offsets", "blockscale_offsets"))
    return codes + codes // 8 + 4 * touched + tables, op.outputs()["out"].nbytes


def _ids(op: Any) -> Tensor:
    drawn = op.inputs(_Drawn())
    return grouped_topk(drawn["routing_logits"], drawn["routing_bias"], op.groups, op.kept_groups, op.top_k)[1]


def _needed_moe(op: Any, inputs: Tensors) -> tuple[int, int]:
    """Without the weights and scalars of experts that no token is routed to."""
    touched = len(_ids(op).unique())
    every = ("routing_logits", "routing_bias", "hidden_states", "hidden_states_scale")
    read = sum(_size(value if name in every else value[:touched]) for name, value in inputs.items())
    return read, op.outputs()["out"].nbytes


NEEDED: dict[str, Callable[[Any, Tensors], tuple[int, int]]] = {
    "scaled_fp4_mm": _needed_mm,
    "scaled_fp4_experts_quant": _needed_quant,
    "fp4_group_mm": _needed_group,
    "fp4_block_scale_moe": _needed_moe,
}
#: The references of the experts look at offsets and ids, which the meta device has none of.
MATRIX: dict[str, Callable[[Any], int]] = {
    "fp4_group_mm": lambda op: sum(2 * load * op.n * op.k for load in _loads(op)),
    "fp4_block_scale_moe": lambda op: sum(
        2 * load * op.hidden * 2 * op.intermediate + 2 * load * op.intermediate * op.hidden
        for load in _ids(op).flatten().bincount().tolist()
    ),
    # It multiplies single elements only.
    "scaled_fp4_experts_quant": lambda op: 0,
}


def _spoil_quant(op: Any, outputs: Tensors) -> None:
    """The last code; the last place of the scales is padding."""
    outputs["codes"][-1, -1] += 1


SPOIL = {"scaled_fp4_experts_quant": _spoil_quant}
Outputs = Callable[[Any, Tensors, Tensors], Tensors]


def _changed(name: str, change: Callable[[Tensor], Tensor]) -> Outputs:
    """The reference's answer to one changed input."""

    def outputs(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
        given = op.reference(**inputs | {name: change(inputs[name])})
        return dict(zip(op.outputs(), given if isinstance(given, tuple) else (given,), strict=True))

    return outputs


def _nibbles(packed: Tensor) -> Tensor:
    """The high half first."""
    return (packed << 4) | (packed >> 4)


def _mean(scales: Tensor) -> Tensor:
    return scales.float().mean().expand(scales.shape).to(scales.dtype)


def _product_cheats(name: str, dims: dict[str, Any], alpha: str) -> list[Cheat]:
    wrong = {
        "the high half first": _changed("a", _nibbles),
        "the weight's high half first": _changed("b", _nibbles),
        "one scale for all blocks": _changed("a_scales", _mean),
        "one scale for all blocks of the weight": _changed("b_scales", _mean),
        "scales read in plain rows": _changed("a_scales", swizzle),
        "the weight's scales read in plain rows": _changed("b_scales", swizzle),
        "without alpha": _changed(alpha, torch.ones_like),
        "without signs": _changed("a", lambda packed: packed & 0x77),
    }
    return [Cheat(name, dims, what, outputs) for what, outputs in wrong.items()]


_GROUP = {"tokens": 150, "experts": 6, "top_k": 3, "n": 160, "k": 96}


def _next_expert(values: Tensor) -> Tensor:
    return values.view(torch.uint8).roll(1, 0).view(values.dtype) if values.itemsize == 1 else values.roll(1, 0)


def _one_too_far(begins: Tensor) -> Tensor:
    """Every expert but the last ends with the first row of the next one."""
    return torch.cat([begins[:1], (begins[1:-1] + 1).clamp_max(int(begins[-1])), begins[-1:]])


_QUANT = {"tokens": 150, "experts": 6, "top_k": 3, "hidden": 112}


def _requantised(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Outputs:
    """Codes and linear scales of (rows, global scale of each), put into the operator's order."""

    def outputs(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
        offsets = inputs["expert_offsets"], inputs["blockscale_offsets"]
        codes, scales = change(inputs["input"], inputs["input_global_scale"][owners(op.rows, offsets[0]), None])
        return {"codes": codes, "scales": grouped_scales(scales, len(want["scales"]), *offsets)}

    return outputs


def _one_step_up(scales: Tensor) -> Tensor:
    return (scales.view(torch.uint8) + 1).view(scales.dtype)


def _coarse(rows: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """One scale per 32."""
    pairs = rows.unflatten(-1, (-1, 2, 16)).abs().amax((-1, -2)) if rows.shape[1] % 32 == 0 else rows.abs().amax(-1, keepdim=True)
    largest = pairs.repeat_interleave(rows.shape[1] // 16 // pairs.shape[1], 1).float()
    scales = (whole * largest / 6).to(torch.float8_e4m3fn)
    steps = (rows.float().unflatten(-1, (-1, 16)) * (whole / scales.float())[..., None]).flatten(-2)
    return quantise(steps * 1.0, 1.0)[0], scales


def _plain_scales(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"scales": unswizzle(want["scales"])}


def _packed_tight(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """Scales of all experts one after the other, without the padding of each."""
    scales = row_scales(want["scales"], op.rows, op.hidden, inputs["expert_offsets"], inputs["blockscale_offsets"])
    tight = want["scales"].view(torch.uint8).clone().zero_().view(want["scales"].dtype)
    together = swizzle(scales)
    tight[: len(together)] = together
    return {"scales": tight}


def _routing(change: Callable[[Any, Tensors], tuple[Tensor, Tensor]]) -> Outputs:
    return lambda op, inputs, want: {"out": layer(op, inputs, routing=change(op, inputs))}


def _right(op: Any, inputs: Tensors) -> tuple[Tensor, Tensor]:
    return grouped_topk(inputs["routing_logits"], inputs["routing_bias"], op.groups, op.kept_groups, op.top_k, op.scaling)


def _by(bias: float, groups: bool) -> Callable[[Any, Tensors], tuple[Tensor, Tensor]]:
    """The routing with so much of the bias, with or without groups."""

    def routing(op: Any, inputs: Tensors) -> tuple[Tensor, Tensor]:
        held = (op.groups, op.kept_groups) if groups else (1, 1)
        return grouped_topk(inputs["routing_logits"], inputs["routing_bias"].float() * bias, *held, op.top_k, op.scaling)

    return routing


def _softmax(op: Any, inputs: Tensors) -> tuple[Tensor, Tensor]:
    weights, ids = inputs["routing_logits"].softmax(-1).topk(op.top_k)
    return weights / weights.sum(-1, keepdim=True) * op.scaling, ids


def _by_the_best_of_a_group(op: Any, inputs: Tensors) -> tuple[Tensor, Tensor]:
    scores = inputs["routing_logits"].sigmoid()
    choice = (scores + inputs["routing_bias"].float()).unflatten(-1, (op.groups, -1))
    kept = choice.amax(-1).topk(op.kept_groups).indices
    mask = torch.zeros(choice.shape[:2], dtype=torch.bool).scatter_(-1, kept, True)
    ids = choice.masked_fill(~mask[..., None], -1).flatten(-2).topk(op.top_k).indices
    chosen = scores.gather(-1, ids)
    return chosen / chosen.sum(-1, keepdim=True) * op.scaling, ids


def _weighted_with_the_bias(op: Any, inputs: Tensors) -> tuple[Tensor, Tensor]:
    ids = _right(op, inputs)[1].long()
    chosen = (inputs["routing_logits"].sigmoid() + inputs["routing_bias"].float() * 2).gather(-1, ids)
    return chosen / chosen.sum(-1, keepdim=True) * op.scaling, ids


def _unnormalised(op: Any, inputs: Tensors) -> tuple[Tensor, Tensor]:
    ids = _right(op, inputs)[1].long()
    return inputs["routing_logits"].sigmoid().gather(-1, ids) * op.scaling, ids


def _reweighted(change: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensors], tuple[Tensor, Tensor]]:
    def routing(op: Any, inputs: Tensors) -> tuple[Tensor, Tensor]:
        weights, ids = _right(op, inputs)
        return change(weights), ids

    return routing


def _next(op: Any, inputs: Tensors) -> tuple[Tensor, Tensor]:
    weights, ids = _right(op, inputs)
    return weights, (ids + 1) % op.experts


def layer(
    op: Any,
    inputs: Tensors,
    routing: tuple[Tensor, Tensor] | None = None,
    gated: Callable[[Tensor, Tensor], Tensor] = lambda gate, up: silu(gate) * up,
    between: Callable[[Tensor], Tensor] = lambda act: widened(*quantise(act, 1.0)),
) -> Tensor:
    """The layer from weights gathered for every token, fp32."""
    weights, ids = routing or _right(op, inputs)
    chosen = ids.long()
    x = widened(inputs["hidden_states"], inputs["hidden_states_scale"])
    w1 = widened(inputs["gemm1_weights"], inputs["gemm1_weights_scale"])
    w2 = widened(inputs["gemm2_weights"], inputs["gemm2_weights_scale"])
    gate, up = torch.einsum("th,tkih->tki", x, w1[chosen]).chunk(2, -1)
    scales = [inputs[f"output{name}"][chosen, None] for name in ("1_scale_gate_scalar", "1_scale_scalar", "2_scale_scalar")]
    act = between(gated(gate * scales[0], up * scales[1]))
    given = torch.einsum("tki,tkhi->tkh", act, w2[chosen]) * scales[2]
    return torch.einsum("tkh,tk->th", given, weights)


def _in_halves(values: Tensor) -> Tensor:
    return torch.cat(values.chunk(2, 1)[::-1], 1)


def _swapped(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    names = ("gemm1_weights", "gemm1_weights_scale")
    return {"out": layer(op, inputs | {name: _in_halves(inputs[name]) for name in names})}


def _linear(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": layer(op, inputs, gated=lambda gate, up: gate * up)}


def _swizzled_tokens(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """Linear scales read as if they were swizzled."""
    scales = inputs["hidden_states_scale"]
    return {"out": layer(op, inputs | {"hidden_states_scale": linear(swizzle(swizzle(scales)), len(scales), op.hidden)})}


def _one_of_them(op: Any, inputs: Tensors) -> tuple[Tensor, Tensor]:
    """One expert of one token is another one."""
    weights, ids = _right(op, inputs)
    ids[op.tokens // 2, -1] = (set(range(op.experts)) - set(ids[op.tokens // 2].tolist())).pop()
    return weights, ids


_MOE_CHEATS: dict[str, Outputs] = {
    "without the bias": _routing(_by(0.0, True)),
    "without groups": _routing(_by(1.0, False)),
    "groups by their best expert": _routing(_by_the_best_of_a_group),
    "softmax routing": _routing(_softmax),
    "weights not normalised": _routing(_unnormalised),
    "weights with the bias": _routing(_weighted_with_the_bias),
    "without scaling": _routing(_reweighted(lambda weights: weights / 2.5)),
    "unweighted": _routing(_reweighted(lambda weights: weights.mean(-1, keepdim=True).expand(weights.shape))),
    "without the last expert": _routing(_reweighted(lambda weights: torch.cat([weights[:, :-1], 0 * weights[:, -1:]], -1))),
    "the next expert": _routing(_next),
    "another expert for one token": _routing(_one_of_them),
    "gate and up swapped": _swapped,
    "without silu": _linear,
    "scales of tokens read swizzled": _swizzled_tokens,
    "the high half first": _changed("hidden_states", _nibbles),
    "the high half of gemm2 first": _changed("gemm2_weights", _nibbles),
    "one scale for all of gemm1": _changed("gemm1_weights_scale", _mean),
    "one scale for all of gemm2": _changed("gemm2_weights_scale", _mean),
    "the gate unscaled": _changed("output1_scale_gate_scalar", lambda scale: scale.mean().expand(scale.shape)),
    "one scale for all experts": _changed("output2_scale_scalar", lambda scale: scale.mean().expand(scale.shape)),
    "the token before": lambda op, inputs, want: {"out": want["out"].roll(1, 0)},
}
CHEATS = [
    *_product_cheats("scaled_fp4_mm", {"m": 131, "n": 160, "k": 288}, "alpha"),
    *_product_cheats("fp4_group_mm", _GROUP, "alphas"),
    Cheat("fp4_group_mm", _GROUP, "the next expert", _changed("b", _next_expert)),
    Cheat("fp4_group_mm", _GROUP, "scales of the next expert", _changed("b_scales", _next_expert)),
    Cheat("fp4_group_mm", _GROUP, "alpha of the next expert", _changed("alphas", _next_expert)),
    Cheat("fp4_group_mm", _GROUP, "one alpha", _changed("alphas", lambda alphas: alphas.mean().expand(alphas.shape))),
    Cheat("fp4_group_mm", _GROUP, "rows one too far", _changed("expert_offsets", _one_too_far)),
    Cheat("scaled_fp4_experts_quant", _QUANT, "scales in plain rows", _plain_scales),
    Cheat("scaled_fp4_experts_quant", _QUANT, "scales without padding", _packed_tight),
    Cheat("scaled_fp4_experts_quant", _QUANT, "the high half first", lambda op, inputs, want: {"codes": _nibbles(want["codes"])}),
    Cheat(
        "scaled_fp4_experts_quant",
        _QUANT,
        "scales one step up",
        lambda op, inputs, want: {"scales": _one_step_up(want["scales"])},
    ),
    Cheat("scaled_fp4_experts_quant", _QUANT, "one scale per 32", _requantised(_coarse)),
    Cheat("scaled_fp4_experts_quant", _QUANT, "one global scale", _requantised(lambda rows, g: quantise(rows, g[0]))),
    Cheat("scaled_fp4_experts_quant", _QUANT, "truncated", _requantised(lambda rows, g: quantise(rows * 0.9, g))),
    *(Cheat("fp4_block_scale_moe", _MOE, what, outputs) for what, outputs in _MOE_CHEATS.items()),
]
