"""Mixture of experts: the routers of models, what grouped products start from, and the way back."""

from typing import TYPE_CHECKING

from ...operators.moe_fused_gate import MoeFusedGate
from ...operators.prepare_moe_input import TILE, PrepareMoeInput
from ...operators.shuffle_mul_sum import ShuffleMulSum
from ...operators.topk_sigmoid import TopkSigmoid
from ...operators.topk_softmax import TopkSoftmax
from ...provider import Launch
from . import native
from .experts import weighted
from .moe import by_expert

if TYPE_CHECKING:
    from torch import Tensor


@native(TopkSoftmax)
def _topk_softmax(op: TopkSoftmax, gating_output: "Tensor", correction_bias: "Tensor | None" = None) -> Launch:
    def launch() -> tuple["Tensor", "Tensor"]:
        logits = gating_output.float()
        weights, ids = (logits if correction_bias is None else logits + correction_bias).softmax(-1).topk(op.top_k)
        return _shares(op, weights), ids.int()

    return launch


@native(TopkSigmoid)
def _topk_sigmoid(op: TopkSigmoid, gating_output: "Tensor", correction_bias: "Tensor | None" = None) -> Launch:
    def launch() -> tuple["Tensor", "Tensor"]:
        scores = gating_output.float().sigmoid()
        ids = (scores if correction_bias is None else scores + correction_bias).topk(op.top_k).indices
        return _shares(op, scores.gather(-1, ids)), ids.int()

    return launch


def _shares(op: TopkSoftmax | TopkSigmoid, weights: "Tensor") -> "Tensor":
    return weights / weights.sum(-1, keepdim=True) if op.renormalize else weights


@native(MoeFusedGate)
def _moe_fused_gate(op: MoeFusedGate, gating_output: "Tensor", correction_bias: "Tensor") -> Launch:
    """In fp32, whatever the dtype of the logits."""
    import torch

    def launch() -> tuple["Tensor", "Tensor"]:
        scores = gating_output.float().sigmoid()
        by_group = (scores + correction_bias).view(op.tokens, op.groups, op.each)
        best = by_group.topk(min(2, op.each), sorted=False).values.sum(-1).topk(op.kept_groups, sorted=False).indices
        dropped = torch.ones(by_group.shape[:2], dtype=torch.bool, device=best.device).scatter_(1, best, False)
        choice = by_group.masked_fill(dropped[..., None], -torch.inf).flatten(1)
        ids = choice.topk(op.top_k, sorted=False).indices
        chosen = scores.gather(-1, ids)
        return chosen * (op.scaling / chosen.sum(-1, keepdim=True)), ids.int()

    return launch


@native(PrepareMoeInput)
def _prepare_moe_input(op: PrepareMoeInput, topk_ids: "Tensor") -> Launch:
    import torch

    experts = torch.arange(op.experts, dtype=torch.int32, device=topk_ids.device)
    places = torch.arange(topk_ids.numel(), dtype=torch.int32, device=topk_ids.device)
    zero, wide = experts.new_zeros(1), experts.new_full((op.experts,), 2 * op.intermediate)
    hidden, intermediate = torch.full_like(wide, op.hidden), torch.full_like(wide, op.intermediate)

    def launch() -> tuple["Tensor", ...]:
        order, _, ends = by_expert(topk_ids, experts)
        offsets = torch.cat([zero, ends])
        counts = offsets.diff()
        tiled = ((counts + TILE - 1) // TILE * TILE).cumsum(0, dtype=torch.int32)
        rows = torch.empty_like(places)
        rows[order] = places
        return (
            offsets,
            torch.stack([counts, wide, hidden], 1),
            torch.stack([counts, hidden, intermediate], 1),
            (order // op.top_k).int(),
            rows,
            torch.cat([zero, tiled]),
        )

    return launch


@native(ShuffleMulSum)
def _shuffle_mul_sum(op: ShuffleMulSum, expert_outputs: "Tensor", permutation: "Tensor", factors: "Tensor") -> Launch:
    return lambda: weighted(expert_outputs[permutation], factors)
