"""Quantisation of activations."""

from typing import Any

SMALL: list[tuple[str, dict[str, Any]]] = [
    ("fp8_dynamic_per_token_quant", {"tokens": 129, "hidden": 77}),
    ("fp8_dynamic_per_token_quant", {"tokens": 33, "hidden": 1000, "fp8": "fp8_e4m3fnuz"}),
]
CONTRADICTIONS = [("fp8_dynamic_per_token_quant", {"tokens": 1, "hidden": 8, "fp8": "fp8_e5m2"}, "unknown fp8 'fp8_e5m2'")]
