"""Normalisations, activations and rotary embedding."""

from typing import TYPE_CHECKING

from ...operators.fused_add_rms_norm import FusedAddRmsNorm
from ...operators.fused_qkv_rope import FusedQkvRope
from ...operators.layer_norm import LayerNorm
from ...operators.rms_norm import RmsNorm
from ...operators.silu_and_mul import SiluAndMul
from ...provider import Launch
from .._case import only
from .._rope import Split, angles
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@RmsNorm.provider("flag_gems", needs=NEEDS)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    from flag_gems.ops import rms_norm_forward

    def launch() -> "Tensor":
        out: Tensor
        out, _ = rms_norm_forward(x, weight.shape, weight, op.eps)
        return out

    return launch


@FusedAddRmsNorm.provider("flag_gems", needs=NEEDS, inplace=("x", "residual"))
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    from flag_gems.fused import fused_add_rms_norm

    return lambda: fused_add_rms_norm(x, residual, weight.shape, weight, op.eps)


@LayerNorm.provider("flag_gems", needs=NEEDS)
def _layer_norm(op: LayerNorm, x: "Tensor", weight: "Tensor", bias: "Tensor") -> Launch:
    from flag_gems.ops import layer_norm

    def launch() -> "Tensor":
        out: Tensor
        out, *_ = layer_norm(x, weight.shape, weight, bias, op.eps)
        return out

    return launch


@SiluAndMul.provider("flag_gems", needs=NEEDS)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    from flag_gems.fused import silu_and_mul_out

    gate, up = x.chunk(2, -1)
    out = x.new_empty((op.tokens, op.hidden))
    return lambda: silu_and_mul_out(gate, up, out)


@FusedQkvRope.provider("flag_gems", needs=NEEDS)
def _fused_qkv_rope(op: FusedQkvRope, qkv: "Tensor", positions: "Tensor", qkv_bias: "Tensor | None" = None) -> Launch:
    """It turns q and k; torch copies v, and adds the bias before."""
    from flag_gems.fused import apply_rotary_pos_emb

    only(op.rope_dim == op.head_dim, f"flag_gems turns all {op.head_dim} columns of a head, not {op.rope_dim}")
    split = Split(op, qkv, qkv_bias)
    cos, sin = angles(op, qkv.device).chunk(2, -1)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        split.refresh()
        q, k = apply_rotary_pos_emb(split.q, split.k, cos, sin, positions)
        return q, k, split.copied_v()

    return launch
