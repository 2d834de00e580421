"""Sampling."""

from typing import TYPE_CHECKING

from ...operators.topk_filter import TopkFilter
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    from torch import Tensor


@native(TopkFilter)
def _topk_filter(op: TopkFilter, logits: "Tensor") -> Launch:
    def launch() -> "Tensor":
        threshold = logits.topk(op.top_k).values[:, -1:]
        return logits.masked_fill(logits < threshold, float("-inf"))

    return launch
