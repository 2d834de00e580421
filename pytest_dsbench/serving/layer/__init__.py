"""A layer as the list of kernels that one GPU runs, each an operator of the benches at its dimensions.

What a list depends on is what its function takes: attention on the sequences and on how many GPUs share the heads, the experts
on the tokens and on how many GPUs share them. The search uses that: no list is made twice.
"""

from collections.abc import Iterator

from ..architecture import Architecture, Mla
from . import gqa, mla
from .head import head, joint
from .mlp import Split, dense, experts, router, shared
from .op import Op, Pass, Stage

__all__ = ["Op", "Pass", "Split", "Stage", "attention", "dense", "experts", "head", "joint", "router", "shared"]


def attention(model: Architecture, given: Pass) -> Iterator[Op]:
    """From the layer's input to the output projection."""
    kind = model.attention
    yield from mla.attention(model, kind, given) if isinstance(kind, Mla) else gqa.attention(model, kind, given)
