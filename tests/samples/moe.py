"""Mixture of experts: routing."""

from typing import Any

SMALL: list[tuple[str, dict[str, Any]]] = [
    ("moe_topk_gating_softmax", {"tokens": 333, "experts": 60, "top_k": 6}),
    ("moe_topk_gating_softmax", {"tokens": 5, "experts": 7, "top_k": 7}),
]
CONTRADICTIONS = [("moe_topk_gating_softmax", {"tokens": 1, "experts": 8, "top_k": 9}, "top_k = 9 of only 8 experts")]
