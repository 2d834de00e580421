"""Mixture of experts: the router of DeepSeek-V3."""

from typing import TYPE_CHECKING

from ...operators.moe_fused_gate import MoeFusedGate
from ...provider import Launch
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@MoeFusedGate.provider("sglang", needs=NEEDS)
def _moe_fused_gate(op: MoeFusedGate, gating_output: "Tensor", correction_bias: "Tensor") -> Launch:
    """Triton; its scores are sigmoids unless another function is named. It allocates what it returns."""
    from sglang.kernels.ops.moe.moe_fused_gate import moe_fused_gate

    return lambda: moe_fused_gate(
        gating_output,
        correction_bias,
        op.top_k,
        routed_scaling_factor=op.scaling,
        apply_routed_scaling_factor_on_output=True,
        num_expert_group=op.groups,
        topk_group=op.kept_groups,
    )
