"""Mixture of experts: the MLPs of the experts themselves."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...operators.block_scaled_mm import dequantised
from ...operators.fp8_blockscale_fused_moe import Fp8BlockscaleFusedMoe
from ...operators.fused_moe import FusedMoe
from ...provider import Launch
from . import native
from .moe import by_expert

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@native(FusedMoe, compiles=False)
def _fused_moe(
    op: FusedMoe, hidden_states: "Tensor", w1: "Tensor", w2: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor"
) -> Launch:
    if hidden_states.is_cuda and native_grouping(op, hidden_states):
        return grouped(op, hidden_states, w1, w2, topk_weights, topk_ids)

    def mlp(expert: int, tokens: "Tensor") -> "Tensor":
        return _gated(hidden_states[tokens] @ w1[expert].T) @ w2[expert].T

    return _one_by_one(op, topk_weights, topk_ids, hidden_states.dtype, mlp)


@native(Fp8BlockscaleFusedMoe, compiles=False)
def _fp8_blockscale_fused_moe(
    op: Fp8BlockscaleFusedMoe,
    hidden_states: "Tensor",
    a_scale: "Tensor",
    w1: "Tensor",
    fc1_scale: "Tensor",
    w2: "Tensor",
    fc2_scale: "Tensor",
    topk_weights: "Tensor",
    topk_ids: "Tensor",
) -> Launch:
    """torch multiplies no groups of scaled blocks, so one expert's weights at a time are widened to bf16."""
    import torch

    from ...tensors import torch_dtype

    wide, out_dtype = torch.bfloat16, torch_dtype(op.out_dtype)

    def mlp(expert: int, tokens: "Tensor") -> "Tensor":
        x = dequantised(hidden_states[tokens], a_scale[tokens]).to(wide)
        act = _gated(x @ dequantised(w1[expert], fc1_scale[expert]).to(wide).T)
        return act @ dequantised(w2[expert], fc2_scale[expert]).to(wide).T

    launch = _one_by_one(op, topk_weights, topk_ids, wide, mlp)
    return lambda: launch().to(out_dtype)


def native_grouping(op: FusedMoe, hidden_states: "Tensor") -> bool:
    """Whether torch multiplies groups of rows, each by its own matrix, in one kernel: bf16 from Hopper on, rows of 16 bytes."""
    import torch
    from torch.nn import functional

    return (
        hasattr(functional, "grouped_mm")
        and op.dtype == "bf16"
        and op.hidden % 8 == 0
        and op.intermediate % 8 == 0
        and torch.cuda.get_device_capability(hidden_states.device) >= (9, 0)
    )


def grouped(
    op: FusedMoe, hidden_states: "Tensor", w1: "Tensor", w2: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor"
) -> Launch:
    """All experts in one product each way, without a look at the ids by the host."""
    import torch
    from torch.nn.functional import grouped_mm

    experts = torch.arange(op.experts, dtype=torch.int32, device=topk_ids.device)

    def launch() -> "Tensor":
        order, _, ends = by_expert(topk_ids, experts)
        act = _gated(grouped_mm(hidden_states[order // op.top_k], w1.mT, offs=ends))
        given = hidden_states.new_empty((len(order), op.hidden))
        given[order] = grouped_mm(act, w2.mT, offs=ends)
        return weighted(given, topk_weights)

    return launch


def _one_by_one(
    op: FusedMoe | Fp8BlockscaleFusedMoe,
    topk_weights: "Tensor",
    topk_ids: "Tensor",
    dtype: "torch.dtype",
    mlp: Callable[[int, "Tensor"], "Tensor"],
) -> Launch:
    """Expert by expert, those without tokens left out: mlp(expert, tokens) gives one row of `dtype` per token."""
    import torch

    experts = torch.arange(op.experts, dtype=torch.int32, device=topk_ids.device)

    def launch() -> "Tensor":
        order, _, ends = by_expert(topk_ids, experts)
        given, start = torch.empty((len(order), op.hidden), dtype=dtype, device=order.device), 0
        for expert, end in enumerate(ends.tolist()):
            if end > start:
                places = order[start:end]
                given[places] = mlp(expert, places // op.top_k)
                start = end
        return weighted(given, topk_weights)

    return launch


def _gated(gate_up: "Tensor") -> "Tensor":
    from torch.nn.functional import silu

    gate, up = gate_up.chunk(2, -1)
    return silu(gate) * up


def weighted(given: "Tensor", topk_weights: "Tensor") -> "Tensor":
    """sum over j of topk_weights[t, j] * given[t * top_k + j], accumulated in fp32 by the product."""
    rows = topk_weights[:, None].to(given.dtype)
    return (rows @ given.view(len(rows), -1, given.shape[-1])).squeeze(1)
