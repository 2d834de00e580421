"""DeepSeek-V3's routing: sigmoid scores, a bias that only chooses, groups of experts of which some are kept."""

from typing import TYPE_CHECKING

from ..operator import New
from ._moe import misrouted
from ._routing import active, loads

if TYPE_CHECKING:
    from torch import Tensor


def grouped_topk(
    logits: "Tensor", bias: "Tensor", groups: int, kept: int, top_k: int, scaling: float = 1.0
) -> tuple["Tensor", "Tensor"]:
    """(weights fp32 [tokens, top_k], ids int32 [tokens, top_k]) of logits [tokens, experts] and bias [experts], in fp64 inside.

    s = sigmoid(logits), c = s + bias. A group, experts / groups neighbours, scores the sum of its two largest c (of one, where
    it has no more); the `kept` best groups stay, and of their experts the top_k with the largest c are chosen, in descending
    order of c. Weights are s of the chosen, divided by their sum, times scaling. Of equal scores any may come first.
    """
    scores = logits.double().sigmoid()
    choice = choices(scores, bias, groups, kept)
    ids = choice.topk(top_k, -1).indices
    chosen = scores.gather(-1, ids)
    # Sigmoids of very negative logits may all underflow in fp32, not in fp64: the sum is never 0 here.
    return (chosen / chosen.sum(-1, keepdim=True) * scaling).float(), ids.int()


def choices(scores: "Tensor", bias: "Tensor", groups: int, kept: int) -> "Tensor":
    """What experts are chosen by, fp64 [tokens, experts]: scores + bias, -inf in the groups that are not kept."""
    import torch

    by_group = (scores.double() + bias.double()).view(len(scores), groups, -1)
    best = by_group.topk(min(2, by_group.shape[-1]), -1).values.sum(-1)
    dropped = torch.ones_like(best, dtype=torch.bool).scatter_(-1, best.topk(kept, -1).indices, False)
    return by_group.masked_fill(dropped[..., None], -torch.inf).flatten(-2)


def spread(top_k: int, kept: int, size: int) -> int | None:
    """In how many of the kept groups of `size` experts the experts of a token lie where inputs are drawn, equally many in each.

    The most groups that allow it; None where none does.
    """
    fits = [count for count in range(1, kept + 1) if top_k % count == 0 and top_k // count <= size]
    return fits[-1] if fits else None


def misgrouped(experts: int, groups: int, kept: int, top_k: int) -> str | None:
    """One sentence where such a routing cannot be, or cannot be drawn."""
    if experts % groups:
        return f"experts = {experts} is no multiple of groups = {groups}"
    if kept > groups:
        return f"kept_groups = {kept} of only {groups} groups"
    if spread(top_k, kept, experts // groups) is None:
        return f"top_k = {top_k} does not spread evenly over at most {kept} groups of {experts // groups} experts"
    return misrouted(experts, top_k)


def touched(tokens: int, experts: int, groups: int, kept: int, top_k: int) -> int:
    """Experts that get at least one token from `drawn_logits`: the same for every content of a shape."""
    size = experts // groups
    used = spread(top_k, kept, size) or 1
    return sum(active(load, size, top_k // used) for load in loads(tokens, groups, used) if load)


def drawn_logits(new: New, tokens: int, experts: int, groups: int, kept: int, top_k: int) -> tuple["Tensor", "Tensor"]:
    """Logits fp32 [tokens, experts] and bias bf16 [experts] with one clear answer, which neither of them alone gives.

    Chosen experts have a c of 0.60 to 0.75, others 0.25 to 0.38, so that no rounding decides and every group with a chosen one is
    kept; a bias of -0.2 to 0.2 in between turns the order of the scores around. Where a token has two experts and more in each
    of its groups, every other group has one expert with a c of 0.79, which is lost with its group.
    """
    import torch

    size = experts // groups
    ids = _drawn_ids(new, tokens, experts, groups, kept, top_k)
    bias = new.uniform((experts,), "bf16", -0.2, 0.2)
    choice = new.uniform((tokens, experts), "fp32", 0.25, 0.38)
    if spread(top_k, kept, size) == kept and top_k >= 2 * kept:
        lures = torch.arange(groups, device=ids.device) * size + new.integers((tokens, groups), "int64", size)
        held = torch.zeros((tokens, groups), dtype=torch.bool, device=ids.device).scatter_(-1, ids // size, True)
        choice.scatter_(-1, lures, choice.gather(-1, lures).masked_fill(~held, 0.79))
    choice.scatter_(-1, ids, new.uniform((tokens, top_k), "fp32", 0.60, 0.75))
    return torch.special.logit(choice.sub_(bias.float()), out=choice), bias


def _drawn_ids(new: New, tokens: int, experts: int, groups: int, kept: int, top_k: int) -> "Tensor":
    """int64 [tokens, top_k]: tokens are routed to groups first, then those of each group to as many of its experts.

    Which group has which load is settled at random, so groups are told by the order of their loads: no size depends on a draw.
    """
    import torch

    size = experts // groups
    used = spread(top_k, kept, size) or 1
    each, group_loads = top_k // used, sorted(loads(tokens, groups, used))
    chosen = new.routing(tuple(group_loads), used, "int32").flatten().long()
    counts = torch.zeros(groups, dtype=torch.int64, device=chosen.device).index_add_(0, chosen, torch.ones_like(chosen))
    by_load = torch.empty_like(counts)
    by_load[counts.argsort()] = torch.arange(groups, device=chosen.device)
    ids = torch.empty((len(chosen), each), dtype=torch.int64, device=chosen.device)
    by_group, start = by_load[chosen].argsort(stable=True), 0
    for load in group_loads:
        if load:
            slots = by_group[start : start + load]
            ids[slots] = chosen[slots, None] * size + new.routing(loads(load, size, each), each, "int32")
        start += load
    return ids.view(tokens, top_k)
