"""Sampling against plain Python."""

import math

import torch
from test_operators import row, small

from pytest_dsbench.tensors import make


def test_topk_filter_by_hand() -> None:
    op = small("topk_filter", {"tokens": 4, "vocab": 101, "top_k": 7})
    inputs = make(op, "cpu")
    out = op.reference(**inputs)
    for token in range(4):
        logits = row(inputs["logits"][token])
        threshold = sorted(logits)[-7]
        assert row(out[token]) == [value if value >= threshold else -math.inf for value in logits]


def test_all_that_equal_the_last_one_are_kept() -> None:
    op = small("topk_filter", {"tokens": 2, "vocab": 5, "top_k": 2})
    out = op.reference(torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0, -1.0]]))
    assert out.tolist() == [[-math.inf, 3, 2, 2, 2], [0, 0, 0, 0, -math.inf]]


def test_with_the_whole_vocabulary_nothing_is_filtered() -> None:
    op = small("topk_filter", {"tokens": 3, "vocab": 9, "top_k": 9})
    inputs = make(op, "cpu")
    assert torch.equal(op.reference(**inputs), inputs["logits"])


def test_what_was_impossible_stays_impossible() -> None:
    op = small("topk_filter", {"tokens": 1, "vocab": 4, "top_k": 3})
    logits = torch.tensor([[-math.inf, 1.0, -math.inf, 2.0]])
    assert torch.equal(op.reference(logits), logits)
