"""Attention without a cache."""

from typing import Any

from . import Cheat, Tensors


def _over_the_whole_batch(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    whole = type(op)(heads=op.heads, head_dim=op.head_dim, seq_lens=(op.tokens,), dtype=op.dtype)
    return {"out": whole.reference(**inputs).to(inputs["q"].dtype)}


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("attention_forward", {"heads": 3, "head_dim": 72, "seq_lens": [1, 17, 130]}),
    ("attention_forward", {"heads": 2, "head_dim": 33, "seq_lens": [65, 64], "dtype": "fp32"}),
]
CHEATS = [
    Cheat(
        "attention_forward",
        {"heads": 2, "head_dim": 33, "seq_lens": [65, 64]},
        "over the bounds of its sequence",
        _over_the_whole_batch,
    )
]
CONTRADICTIONS = [("attention_forward", {"heads": 1, "head_dim": 8, "seq_lens": []}, "'seq_lens'")]
