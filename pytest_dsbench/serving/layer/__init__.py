"""A layer as the list of kernels that one GPU runs, each an operator of the benches at its dimensions.

What a list depends on is what its function takes: attention on the sequences and on how many GPUs share the heads, the experts
on the tokens and on how many GPUs share them. The search uses that: no list is made twice.
"""

from collections.abc import Iterator

from ..model.architecture import Architecture, Mla
from ..precision import Precision
from . import gqa, mla
from .head import head, joint
from .mlp import Split, dense, experts, router, shared
from .op import Op, Pass, Stage

__all__ = ["Op", "Pass", "Split", "Stage", "attention", "dense", "experts", "head", "joint", "obstacle", "router", "shared"]


def attention(model: Architecture, given: Pass) -> Iterator[Op]:
    """From the layer's input to the output projection."""
    kind = model.attention
    yield from mla.attention(model, kind, given) if isinstance(kind, Mla) else gqa.attention(model, kind, given)


def obstacle(model: Architecture, tp: int, precision: Precision, decode: bool) -> str | None:
    """One sentence where a kernel has sizes that no such kernel takes, such as a part of a block of scales; None for none."""
    seen = Pass(sequences=1, queries=1, context=1, tp=tp, precision=precision, decode=decode)
    ops = [*attention(model, seen), *head(model, seen)]
    ops += [*(dense(model, seen) if model.dense_layers else ()), *(joint(model, seen) if model.draft_layers else ())]
    if model.moe is not None:
        alone = Split(ep=1, local=model.moe.experts)
        ops += [*router(model, model.moe, 1), *shared(model, model.moe, 1, precision)]
        ops += experts(model, model.moe, 1, alone, precision)
    for op in ops:
        why = op.operator.contradiction()
        if why is not None:
            return f"{op.name} of {model.name}, a {op.operator.name}, cannot be: {why}"
    return None
