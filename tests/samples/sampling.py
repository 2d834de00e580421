"""Sampling."""

from typing import Any

from . import Cheat, Tensors


def _keeping(op: Any, inputs: Tensors, count: int) -> Tensors:
    logits = inputs["logits"]
    return {"out": logits.masked_fill(logits < logits.topk(count).values[:, -1:], float("-inf"))}


def _one_too_few(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return _keeping(op, inputs, op.top_k - 1)


def _one_too_many(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return _keeping(op, inputs, op.top_k + 1)


def _all_kept(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": inputs["logits"]}


def _zeros_for_the_rest(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": want["out"].nan_to_num(neginf=0.0)}


def _very_small_for_the_rest(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    return {"out": want["out"].nan_to_num(neginf=-1e30)}


def _threshold_of_the_first_row(op: Any, inputs: Tensors, want: Tensors) -> Tensors:
    logits = inputs["logits"]
    return {"out": logits.masked_fill(logits < logits[0].topk(op.top_k).values[-1], float("-inf"))}


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("topk_filter", {"tokens": 7, "vocab": 1003}),
    ("topk_filter", {"tokens": 1, "vocab": 33, "top_k": 1}),
    ("topk_filter", {"tokens": 3, "vocab": 5, "top_k": 5}),
]
CHEATS = [
    Cheat("topk_filter", {"tokens": 7, "vocab": 1003}, what, outputs)
    for what, outputs in (
        ("top_k - 1", _one_too_few),
        ("top_k + 1", _one_too_many),
        ("unfiltered", _all_kept),
        ("zeros instead of -inf", _zeros_for_the_rest),
        ("-1e30 instead of -inf", _very_small_for_the_rest),
        ("the threshold of another row", _threshold_of_the_first_row),
    )
]
CONTRADICTIONS = [("topk_filter", {"tokens": 1, "vocab": 49}, "top_k = 50 of a vocabulary of only 49")]
