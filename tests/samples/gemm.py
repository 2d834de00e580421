"""Matrix products."""

from typing import Any

from . import Cheat, Tensors


def _unscaled(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": (inputs["a"].float() @ inputs["b"].float().T) * (inputs["a_scales"].mean() * inputs["b_scales"].mean())}


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("block_scaled_mm", {"m": 1, "n": 256, "k": 256}),
    ("block_scaled_mm", {"m": 131, "n": 384, "k": 640}),
    ("block_scaled_mm", {"m": 33, "n": 96, "k": 160, "group_n": 32, "group_k": 32, "out_dtype": "bf16"}),
]
CHEATS = [Cheat("block_scaled_mm", {"m": 131, "n": 384, "k": 640}, "one scale for all blocks", _unscaled)]
CONTRADICTIONS = [
    ("block_scaled_mm", {"m": 1, "n": 100, "k": 128}, "n = 100 is no multiple of group_n = 128"),
    ("block_scaled_mm", {"m": 1, "n": 128, "k": 100}, "k = 100 is no multiple of group_k = 128"),
]
