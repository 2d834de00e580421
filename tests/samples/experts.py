"""Mixture of experts: the MLPs of the experts themselves."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from pytest_dsbench.operators.block_scaled_mm import dequantised
from pytest_dsbench.tensors import Maker

from . import Cheat, Tensors


class _Routed(Maker):
    """Draws the ids for real, and everything else on the meta device."""

    def __init__(self) -> None:
        super().__init__(0, "meta")

    def routing(self, *given: Any) -> Tensor:
        return Maker(7, "cpu").routing(*given)


def _routed(op: Any, inputs: Tensors) -> tuple[int, int]:
    """Every input but the weights of experts whom no drawn id names, and all outputs."""
    ids = op.inputs(_Routed())["topk_ids"]
    named = len(ids.unique())
    read = 0
    for name, value in inputs.items():
        rows = value[:named] if name in op.constants else value
        read += rows.numel() * rows.itemsize
    return read, sum(spec.nbytes for spec in op.outputs().values())


def _products(op: Any) -> int:
    """Of the rows that each expert is given: hidden x 2 intermediate, then intermediate x hidden."""
    rows = op.inputs(_Routed())["topk_ids"].flatten().bincount().tolist()
    return sum(2 * count * op.hidden * 2 * op.intermediate + 2 * count * op.intermediate * op.hidden for count in rows)


NEEDED: dict[str, Callable[[Any, Tensors], tuple[int, int]]] = {"fused_moe": _routed, "fp8_blockscale_fused_moe": _routed}
MATRIX: dict[str, Callable[[Any], int]] = {
    "fused_moe": _products,
    "fp8_blockscale_fused_moe": _products,
}


def _wide(inputs: Tensors) -> tuple[Tensor, Tensor, Tensor]:
    """x, w1 and w2 in fp32."""
    x, w1, w2 = (inputs[name] for name in ("hidden_states", "w1", "w2"))
    if "a_scale" not in inputs:
        return x.float(), w1.float(), w2.float()
    gate_up = [dequantised(codes, scales) for codes, scales in zip(w1, inputs["fc1_scale"], strict=True)]
    down = [dequantised(codes, scales) for codes, scales in zip(w2, inputs["fc2_scale"], strict=True)]
    return dequantised(x, inputs["a_scale"]), torch.stack(gate_up), torch.stack(down)


def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return silu(gate) * up


def moe(inputs: Tensors, gated: Callable[[Tensor, Tensor], Tensor] = _gated, ids: int = 0, down: int = 0) -> Tensor:
    """The mixture from weights gathered for every token; `ids` and `down` name the expert that many further on for w1, w2."""
    x, w1, w2 = _wide(inputs)
    chosen = inputs["topk_ids"].long()
    gate, up = torch.einsum("th,tkih->tki", x, w1[(chosen + ids) % len(w1)]).chunk(2, -1)
    given = torch.einsum("tki,tkhi->tkh", gated(gate, up), w2[(chosen + down) % len(w2)])
    return torch.einsum("tkh,tk->th", given, inputs["topk_weights"])


def _weights(change: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensors, Tensors], Tensors]:
    return lambda op, inputs, want: {"out": moe(inputs | {"topk_weights": change(inputs["topk_weights"])})}


def _first_only(weights: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(weights[:, :1]), torch.zeros_like(weights[:, 1:])], -1)


def _without_last(weights: Tensor) -> Tensor:
    return torch.cat([weights[:, :-1], torch.zeros_like(weights[:, -1:])], -1)


def _swapped(name: str) -> Callable[[Any, Tensors, Tensors], Tensors]:
    """The halves of w1 in the other order, or of its scales."""
    return lambda op, inputs, want: {"out": moe(inputs | {name: torch.cat(inputs[name].chunk(2, 1)[::-1], 1)})}


def _activation(gated: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Tensors, Tensors], Tensors]:
    return lambda op, inputs, want: {"out": moe(inputs, gated)}


def _experts(ids: int, down: int) -> Callable[[Any, Tensors, Tensors], Tensors]:
    return lambda op, inputs, want: {"out": moe(inputs, ids=ids, down=down)}


def _another_token(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": want["out"].roll(1, 0)}


def _one_scale(*names: str) -> Callable[[Any, Tensors, Tensors], Tensors]:
    """The mean of all scales in place of each."""
    return lambda op, inputs, want: {
        "out": moe(inputs | {name: inputs[name].mean().expand(inputs[name].shape) for name in names})
    }


def _next_scale(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": moe(inputs | {"a_scale": inputs["a_scale"].roll(1, -1)})}


def _mixture_cheats(name: str, dims: dict[str, Any]) -> list[Cheat]:
    wrong = {
        "unweighted": _weights(lambda weights: torch.full_like(weights, 1 / weights.shape[-1])),
        "added up": _weights(torch.ones_like),
        "softmax of the weights": _weights(lambda weights: weights.softmax(-1)),
        "weights the other way round": _weights(lambda weights: weights.flip(-1)),
        "the first expert only": _weights(_first_only),
        "without the last expert": _weights(_without_last),
        "gate and up swapped": _swapped("w1"),
        "without silu": _activation(lambda gate, up: gate * up),
        "half in place of silu": _activation(lambda gate, up: gate * up / 2),
        "gelu": _activation(lambda gate, up: gelu(gate) * up),
        "without the gate": _activation(lambda gate, up: up),
        "the next expert": _experts(1, 1),
        "w1 of the next expert": _experts(1, 0),
        "w2 of the next expert": _experts(0, 1),
        "the token before": _another_token,
    }
    return [Cheat(name, dims, what, outputs) for what, outputs in wrong.items()]


_SCALES = {
    "one scale for all tokens": _one_scale("a_scale"),
    "one scale for all blocks": _one_scale("fc1_scale", "fc2_scale"),
    "the scale of the next group": _next_scale,
    "scales of gate and up swapped": _swapped("fc1_scale"),
}


_EXPERTS = {"tokens": 61, "hidden": 64, "intermediate": 48, "experts": 6, "top_k": 3}
_BLOCKS = {"tokens": 61, "hidden": 256, "intermediate": 256, "experts": 6, "top_k": 3}
CHEATS = [
    *_mixture_cheats("fused_moe", _EXPERTS),
    *_mixture_cheats("fp8_blockscale_fused_moe", _BLOCKS),
    *(Cheat("fp8_blockscale_fused_moe", _BLOCKS, what, outputs) for what, outputs in _SCALES.items()),
]
SMALL: list[tuple[str, dict[str, Any]]] = [
    ("fused_moe", {"tokens": 37, "hidden": 72, "intermediate": 40, "experts": 6, "top_k": 3}),
    ("fused_moe", {"tokens": 1, "hidden": 129, "intermediate": 65, "experts": 5, "top_k": 2}),
    ("fused_moe", {"tokens": 131, "hidden": 64, "intermediate": 33, "experts": 1, "top_k": 1, "dtype": "fp16"}),
    ("fused_moe", {"tokens": 5, "hidden": 77, "intermediate": 31, "experts": 64, "top_k": 8, "dtype": "fp32"}),
    ("fp8_blockscale_fused_moe", {"tokens": 37, "hidden": 256, "intermediate": 128, "experts": 6, "top_k": 3}),
    (
        "fp8_blockscale_fused_moe",
        {"tokens": 1, "hidden": 384, "intermediate": 256, "experts": 5, "top_k": 2, "fp8": "fp8_e4m3fnuz"},
    ),
    (
        "fp8_blockscale_fused_moe",
        {"tokens": 131, "hidden": 96, "intermediate": 64, "experts": 1, "top_k": 1, "group": 32, "out_dtype": "fp16"},
    ),
    (
        "fp8_blockscale_fused_moe",
        {"tokens": 5, "hidden": 64, "intermediate": 192, "experts": 40, "top_k": 8, "group": 64, "out_dtype": "fp32"},
    ),
]
_SIZES = {"tokens": 1, "hidden": 256, "intermediate": 128, "experts": 8, "top_k": 2}
CONTRADICTIONS = [
    ("fused_moe", {**_SIZES, "top_k": 9}, "top_k = 9 of only 8 experts"),
    ("fused_moe", {**_SIZES, "experts": 2**40}, "experts = 1099511627776 is more than the 65536 that can be routed to"),
    ("fp8_blockscale_fused_moe", {**_SIZES, "top_k": 9}, "top_k = 9 of only 8 experts"),
    ("fp8_blockscale_fused_moe", {**_SIZES, "hidden": 200}, "hidden = 200 is no multiple of group = 128"),
    ("fp8_blockscale_fused_moe", {**_SIZES, "intermediate": 64}, "intermediate = 64 is no multiple of group = 128"),
]
