"""Activations between the products of an MLP."""

from typing import Any

from . import Cheat, Tensors


def _without_silu(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    gate, up = inputs["x"].chunk(2, -1)
    return {"out": gate * up}


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("silu_and_mul", {"tokens": 37, "hidden": 131}),
    ("silu_and_mul", {"tokens": 1, "hidden": 1}),
]
CHEATS = [Cheat("silu_and_mul", {"tokens": 37, "hidden": 131}, "without silu", _without_silu)]
