"""What the operators that route tokens to experts share: their ids and weights, and the reference of a mixture of MLPs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..operator import New
from ._routing import loads
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor

#: Loads are drawn expert by expert: more than this are a typing error, and would take forever.
_MOST_EXPERTS = 2**16


def misrouted(experts: int, top_k: int) -> str | None:
    """One sentence where rows of `top_k` distinct ids out of `experts` cannot be drawn."""
    if top_k > experts:
        return f"top_k = {top_k} of only {experts} experts"
    if experts > _MOST_EXPERTS:
        return f"experts = {experts} is more than the {_MOST_EXPERTS} that can be routed to"
    return None


def drawn_ids(new: New, tokens: int, experts: int, top_k: int) -> "Tensor":
    """topk_ids int32 [tokens, top_k] with the loads that the work is counted from."""
    return new.routing(loads(tokens, experts, top_k), top_k, "int32")


def drawn_weights(new: New, tokens: int, top_k: int) -> "Tensor":
    """topk_weights fp32 [tokens, top_k]: rows add up to 1, and their largest are several times their smallest."""
    weights = new.uniform((tokens, top_k), "fp32", 0.05, 1.0)
    return weights.div_(weights.sum(-1, keepdim=True))


def mixture(
    rows: tuple["Tensor", ...],
    widened: Callable[..., "Tensor"],
    topk_weights: "Tensor",
    topk_ids: "Tensor",
    experts: int,
    weights: Callable[[int], tuple["Tensor", "Tensor"]],
) -> "Tensor":
    """out[t] = sum over j of topk_weights[t, j] * mlp of expert topk_ids[t, j] (x[t]), in fp32, one expert at a time.

    x is widened(*rows); weights(expert) are fp32 [2 * intermediate, hidden], gate rows first, and [hidden, intermediate].
    """
    import torch

    out = torch.zeros(rows[0].shape, dtype=torch.float32, device=rows[0].device)
    for expert in range(experts):
        tokens, places = (topk_ids == expert).nonzero(as_tuple=True)
        if not len(tokens):
            continue
        gate_up, down = weights(expert)

        def weighted(share: "Tensor", *some: "Tensor", gate_up: "Tensor" = gate_up, down: "Tensor" = down) -> "Tensor":
            gate, up = (widened(*some) @ gate_up.T).chunk(2, -1)
            return (gate * gate.sigmoid() * up) @ down.T * share

        share = topk_weights[tokens, places, None].float()
        out.index_add_(0, tokens, by_rows(weighted, share, *(tensor[tokens] for tensor in rows)))
    return out
