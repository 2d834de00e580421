"""Normalisations."""

from typing import TYPE_CHECKING

from ...operator import Launch
from ...operators.fused_add_rms_norm import FusedAddRmsNorm
from ...operators.layer_norm import LayerNorm
from ...operators.rms_norm import RmsNorm
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
