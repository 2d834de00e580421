"""Matrix products."""

from typing import Any

import torch
from torch import Tensor

from . import Cheat, Tensors


def _unscaled(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": (inputs["a"].float() @ inputs["b"].float().T) * (inputs["a_scales"].mean() * inputs["b_scales"].mean())}


def _gate(inputs: Tensors) -> Tensor:
    product = inputs["hidden_states"].float() @ inputs["weight"].float().T
    return (product + inputs["bias"].float()).to(inputs["hidden_states"].dtype).float()


def _ungated(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": inputs["post_mul_mat"]}


def _half(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    """The gate of small inputs, where no product is needed."""
    return {"out": 0.5 * inputs["post_mul_mat"].float()}


def _without_bias(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": op.reference(**inputs | {"bias": torch.zeros_like(inputs["bias"])})}


def _by_the_bias_alone(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": inputs["bias"].float().sigmoid() * inputs["post_mul_mat"].float()}


def _by_silu(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    gate = _gate(inputs)
    return {"out": gate * gate.sigmoid() * inputs["post_mul_mat"].float()}


def _by_the_gate_of_the_first_token(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": _gate(inputs)[:1].sigmoid() * inputs["post_mul_mat"].float()}


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("block_scaled_mm", {"m": 1, "n": 256, "k": 256}),
    ("block_scaled_mm", {"m": 131, "n": 384, "k": 640}),
    ("block_scaled_mm", {"m": 5, "n": 200, "k": 256}),
    ("block_scaled_mm", {"m": 33, "n": 96, "k": 160, "group_n": 32, "group_k": 32, "out_dtype": "bf16"}),
    ("linear_sigmoid_mul", {"tokens": 131, "hidden": 77, "features": 33}),
    ("linear_sigmoid_mul", {"tokens": 37, "hidden": 640, "features": 1}),
    ("linear_sigmoid_mul", {"tokens": 1, "hidden": 256, "features": 129, "dtype": "fp16"}),
    ("linear_sigmoid_mul", {"tokens": 5, "hidden": 33, "features": 1, "dtype": "fp32"}),
]
CHEATS = [
    Cheat("block_scaled_mm", {"m": 131, "n": 384, "k": 640}, "one scale for all blocks", _unscaled),
    *(
        Cheat("linear_sigmoid_mul", {"tokens": 37, "hidden": 640, "features": features}, f"{what} ({features})", outputs)
        for what, outputs in (
            ("ungated", _ungated),
            ("half of it", _half),
            ("without the bias", _without_bias),
            ("by the bias alone", _by_the_bias_alone),
            ("by silu", _by_silu),
            ("by the gate of the first token", _by_the_gate_of_the_first_token),
        )
        for features in (1, 129)
    ),
]
#: The reference adds the bias after the product, where torch counts no FLOP of it.
MATRIX = {"linear_sigmoid_mul": lambda op: sum(2 * op.hidden + 1 for _ in range(op.features)) * op.tokens}
CONTRADICTIONS = [
    ("block_scaled_mm", {"m": 1, "n": 128, "k": 100}, "k = 100 is no multiple of group_k = 128"),
]
