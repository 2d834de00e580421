"""Mixture of experts: the router of DeepSeek-V3."""

from typing import TYPE_CHECKING

from ...operators.moe_fused_gate import MoeFusedGate
from ...provider import Launch
from .._case import only
from .._pdl import pdl
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@MoeFusedGate.provider("flashinfer", needs=NEEDS)
def _moe_fused_gate(op: MoeFusedGate, gating_output: "Tensor", correction_bias: "Tensor") -> Launch:
    import torch
    from flashinfer.fused_moe import fused_topk_deepseek

    only(op.dtype == "fp32", f"flashinfer's fused_topk_deepseek writes weights in the dtype of its scores, {op.dtype}, not fp32")
    weights, early = gating_output.new_empty((op.tokens, op.top_k)), pdl(gating_output)
    ids = weights.new_empty(weights.shape, dtype=torch.int32)

    def launch() -> tuple["Tensor", "Tensor"]:
        fused_topk_deepseek(
            gating_output,
            correction_bias,
            op.groups,
            op.kept_groups,
            op.top_k,
            op.scaling,
            weights,
            ids,
            launch_with_pdl=early,
        )
        return weights, ids

    return launch
