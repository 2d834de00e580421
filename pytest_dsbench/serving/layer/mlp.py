"""What follows attention in a layer: a dense MLP, or the router, the shared and the routed experts."""

from collections.abc import Iterator
from math import ceil

from ...operators import find
from ...record import Record
from ..model.architecture import Architecture, Moe
from ..precision import Precision, Weight
from .op import Op, Pass, Stage
from .products import linear


class Split(Record):
    """How the routed experts are dealt out to GPUs."""

    #: GPUs that hold all experts together
    ep: int
    #: experts on each GPU, those that stand twice among them
    local: int
    #: rows of the busiest GPU over those of the mean one
    imbalance: float = 1.0

    def rows(self, tokens: int, moe: Moe) -> int:
        """Rows that the experts of the busiest GPU get, where every GPU sends `tokens` tokens.

        Each expert gets its even share of all rows, tokens * ep * top_k / experts, and the GPU holds `local` of them.
        """
        return max(ceil(tokens * moe.top_k * self.ep * self.local / moe.experts * self.imbalance - 1e-9), 1)


def dense(model: Architecture, given: Pass) -> Iterator[Op]:
    """The norm and the MLP of a dense layer, its width shared by `given.tp` GPUs."""
    yield _norm(model, given.tokens, "mlp")
    width = model.intermediate // given.tp
    yield from _mlp("mlp", "mlp", given.together, model.hidden, width, given.precision.dense)


def router(model: Architecture, moe: Moe, tokens: int) -> Iterator[Op]:
    """The norm, the logits and the choice of the experts."""
    yield _norm(model, tokens, "router")
    logits = find("matmul")(m=tokens, n=moe.experts, k=model.hidden)
    yield Op(name="router", stage="router", operator=logits, rows=tokens)
    if moe.scoring == "sigmoid":
        chosen = find("moe_fused_gate")(
            tokens=tokens, experts=moe.experts, groups=moe.groups, kept_groups=moe.kept_groups, top_k=moe.top_k
        )
    else:
        chosen = find("topk_softmax")(tokens=tokens, experts=moe.experts, top_k=moe.top_k, renormalize=True)
    yield Op(name="topk", stage="router", operator=chosen)


def shared(model: Architecture, moe: Moe, tokens: int, precision: Precision) -> Iterator[Op]:
    """The shared experts, whole on every GPU, for its own tokens."""
    if moe.shared:
        yield from _mlp("shared", "shared", tokens, model.hidden, moe.shared, precision.dense)


def experts(model: Architecture, moe: Moe, tokens: int, split: Split, precision: Precision) -> Iterator[Op]:
    """The routed experts of the busiest GPU. With all experts on one GPU its own tokens are gathered and summed there too."""
    alone = split.ep == 1 and split.local == moe.experts
    # On one of many GPUs each row has one expert here.
    rows, top_k = (tokens, moe.top_k) if alone else (split.rows(tokens, moe), 1)
    each = max(rows * top_k / split.local, 1.0)
    sizes = {"tokens": rows, "experts": split.local, "top_k": top_k}
    if precision.experts == "fp4":
        yield from _fp4(model, moe, sizes, each)
    else:
        name = "fp8_blockscale_fused_moe" if precision.experts == "fp8" else "fused_moe"
        operator = find(name)(hidden=model.hidden, intermediate=moe.intermediate, **sizes)
        # Two grouped products with the activation between them.
        yield Op(name="experts", stage="experts", operator=operator, launches=3, rows=each)
    if alone:
        gathered = find("moe_sum_reduce")(tokens=tokens, top_k=moe.top_k, hidden=model.hidden)
        yield Op(name="experts.sum", stage="experts", operator=gathered)


def _fp4(model: Architecture, moe: Moe, sizes: dict[str, int], each: float) -> Iterator[Op]:
    rows = sizes["tokens"] * sizes["top_k"]
    product, quantise = find("fp4_group_mm"), find("scaled_fp4_experts_quant")
    yield Op(name="experts.quant", stage="experts", operator=quantise(hidden=model.hidden, **sizes))
    up = product(n=2 * moe.intermediate, k=model.hidden, **sizes)
    yield Op(name="experts.gate_up", stage="experts", operator=up, rows=each)
    silu = find("silu_and_mul")(tokens=rows, hidden=moe.intermediate)
    yield Op(name="experts.activation", stage="experts", operator=silu)
    inner = {**sizes, "tokens": rows, "top_k": 1}
    yield Op(name="experts.quant2", stage="experts", operator=quantise(hidden=moe.intermediate, **inner))
    down = product(n=model.hidden, k=moe.intermediate, **inner)
    yield Op(name="experts.down", stage="experts", operator=down, rows=each)


def _norm(model: Architecture, tokens: int, stage: Stage) -> Op:
    operator = find("fused_add_rms_norm")(tokens=tokens, hidden=model.hidden)
    return Op(name="post_attention_layernorm", stage=stage, operator=operator)


def _mlp(name: str, stage: Stage, tokens: int, hidden: int, width: int, weight: Weight) -> Iterator[Op]:
    yield from linear(f"{name}.gate_up", stage, tokens, 2 * width, hidden, weight)
    silu = find("silu_and_mul")(tokens=tokens, hidden=width)
    yield Op(name=f"{name}.activation", stage=stage, operator=silu)
    yield from linear(f"{name}.down", stage, tokens, hidden, width, weight)
