"""Normalisations."""

from typing import TYPE_CHECKING

from ...operators.fused_add_rms_norm import FusedAddRmsNorm
from ...operators.fused_qk_rmsnorm import FusedQkRmsnorm
from ...operators.gated_rms_norm import GatedRmsNorm
from ...operators.l2_norm import L2Norm
from ...operators.layer_norm import LayerNorm
from ...operators.rms_norm import RmsNorm
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    from torch import Tensor


def rms_norm(x: "Tensor", weight: "Tensor", eps: float) -> "Tensor":
    """x / rms(x) * weight: x [tokens, hidden], weight [hidden]."""
    from torch.nn.functional import rms_norm

    return rms_norm(x, weight.shape, weight, eps)


def add_rms_norm(x: "Tensor", residual: "Tensor", weight: "Tensor", eps: float) -> tuple["Tensor", "Tensor"]:
    """The norm of x + residual, and the sum."""
    total = x + residual
    return rms_norm(total, weight, eps), total


def layer_norm(x: "Tensor", weight: "Tensor", bias: "Tensor", eps: float) -> "Tensor":
    """(x - mean(x)) / std(x) * weight + bias: x [tokens, hidden], weight and bias [hidden]."""
    from torch.nn.functional import layer_norm

    return layer_norm(x, weight.shape, weight, bias, eps)


@native(RmsNorm)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    return lambda: rms_norm(x, weight, op.eps)


@native(FusedAddRmsNorm)
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    return lambda: add_rms_norm(x, residual, weight, op.eps)


@native(LayerNorm)
def _layer_norm(op: LayerNorm, x: "Tensor", weight: "Tensor", bias: "Tensor") -> Launch:
    return lambda: layer_norm(x, weight, bias, op.eps)


@native(FusedQkRmsnorm)
def _fused_qk_rmsnorm(op: FusedQkRmsnorm, hidden_states: "Tensor", q_weight: "Tensor", k_weight: "Tensor") -> Launch:
    import torch
    from torch.nn.functional import rms_norm

    # One weight per head, so that q and k take one call.
    weight = torch.cat([q_weight.expand(op.q_heads, -1), k_weight.expand(op.kv_heads, -1)])

    def launch() -> "Tensor":
        heads = hidden_states.view(op.tokens, op.heads, op.head_dim)
        normed = rms_norm(heads[:, : op.normed_heads], (op.head_dim,), eps=op.eps) * weight
        return torch.cat([normed, heads[:, op.normed_heads :]], 1).view(hidden_states.shape)

    return launch


@native(GatedRmsNorm)
def _gated_rms_norm(op: GatedRmsNorm, x: "Tensor", z: "Tensor", weight: "Tensor") -> Launch:
    from torch.nn.functional import silu

    wide = weight.float()
    # In fp32 throughout: three roundings to 16 bits would take all of the tolerance.
    return lambda: (rms_norm(x.float(), wide, op.eps) * silu(z.float())).to(x.dtype)


@native(L2Norm)
def _l2_norm(op: L2Norm, x: "Tensor") -> Launch:
    def launch() -> "Tensor":
        wide = x.float()
        return (wide * (wide.square().sum(-1, keepdim=True) + op.eps).rsqrt()).to(x.dtype)

    return launch
