"""Normalisations."""

from typing import TYPE_CHECKING

from ...operators.fused_add_rms_norm import FusedAddRmsNorm
from ...operators.fused_qk_rmsnorm import FusedQkRmsnorm
from ...operators.gated_rms_norm import GatedRmsNorm
from ...operators.l2_norm import L2Norm
from ...operators.layer_norm import LayerNorm
from ...operators.rms_norm import RmsNorm
from ...provider import Launch
from . import in_registers, ours

if TYPE_CHECKING:
    from torch import Tensor


@ours(RmsNorm)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    from ...kernels.rms_norm import rms_norm

    return lambda: rms_norm(x, weight, op.eps)


@ours(FusedAddRmsNorm, inplace=("x", "residual"))
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    from ...kernels.fused_add_rms_norm import fused_add_rms_norm

    in_registers("hidden", op.hidden)
    return lambda: fused_add_rms_norm(x, residual, weight, op.eps)


@ours(LayerNorm)
def _layer_norm(op: LayerNorm, x: "Tensor", weight: "Tensor", bias: "Tensor") -> Launch:
    from ...kernels.layer_norm import layer_norm

    in_registers("hidden", op.hidden)
    return lambda: layer_norm(x, weight, bias, op.eps)


@ours(FusedQkRmsnorm, inplace=("hidden_states",))
def _fused_qk_rmsnorm(op: FusedQkRmsnorm, hidden_states: "Tensor", q_weight: "Tensor", k_weight: "Tensor") -> Launch:
    from ...kernels.fused_qk_rmsnorm import fused_qk_rmsnorm

    in_registers("head_dim", op.head_dim)
    return lambda: fused_qk_rmsnorm(hidden_states, q_weight, k_weight, op.q_heads, op.kv_heads, op.eps)


@ours(GatedRmsNorm)
def _gated_rms_norm(op: GatedRmsNorm, x: "Tensor", z: "Tensor", weight: "Tensor") -> Launch:
    from ...kernels.gated_rms_norm import gated_rms_norm

    in_registers("hidden", op.hidden)
    return lambda: gated_rms_norm(x, z, weight, op.eps)


@ours(L2Norm)
def _l2_norm(op: L2Norm, x: "Tensor") -> Launch:
    from ...kernels.l2_norm import l2_norm

    in_registers("hidden", op.hidden)
    return lambda: l2_norm(x, op.eps)
