"""Normalisations."""

from typing import Any

SMALL: list[tuple[str, dict[str, Any]]] = [
    ("rms_norm", {"tokens": 37, "hidden": 129}),
    ("rms_norm", {"tokens": 1, "hidden": 7, "dtype": "fp16"}),
    ("rms_norm", {"tokens": 5, "hidden": 64, "dtype": "fp32"}),
    ("fused_add_rms_norm", {"tokens": 37, "hidden": 129}),
    ("fused_add_rms_norm", {"tokens": 3, "hidden": 256, "dtype": "fp16"}),
    ("layer_norm", {"tokens": 37, "hidden": 129}),
    ("layer_norm", {"tokens": 2, "hidden": 5, "dtype": "fp32"}),
]
CONTRADICTIONS = [("rms_norm", {"tokens": 1, "hidden": 8, "dtype": "int32"}, "unknown dtype 'int32'")]
