"""liger_kernel: Triton kernels of LinkedIn's Liger-Kernel, written for training; they allocate what they return."""

from typing import TYPE_CHECKING

from ..operators.fused_add_rms_norm import FusedAddRmsNorm
from ..operators.fused_moe import FusedMoe
from ..operators.layer_norm import LayerNorm
from ..operators.moe_count_and_sort import MoeCountAndSort
from ..operators.mrope import Mrope
from ..operators.rms_norm import RmsNorm
from ..provider import Launch
from ._case import half, only

if TYPE_CHECKING:
    from torch import Tensor

_NEEDS = ("liger-kernel", "torch")


@RmsNorm.provider("liger_kernel", needs=_NEEDS)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    """With casting_mode "gemma", which computes everything in fp32 and rounds once."""
    from liger_kernel.ops.rms_norm import rms_norm_forward

    def launch() -> "Tensor":
        out: Tensor = rms_norm_forward(x, weight, op.eps, 0.0, "gemma", None)[0]
        return out

    return launch


@FusedAddRmsNorm.provider("liger_kernel", needs=_NEEDS)
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    """With casting_mode "gemma", which computes the norm of the rounded sum in fp32."""
    from liger_kernel.ops.fused_add_rms_norm import fused_add_rms_norm_forward

    def launch() -> tuple["Tensor", "Tensor"]:
        out, total, *_ = fused_add_rms_norm_forward(x, residual, weight, op.eps, 0.0, "gemma")
        return out, total

    return launch


@LayerNorm.provider("liger_kernel", needs=_NEEDS)
def _layer_norm(op: LayerNorm, x: "Tensor", weight: "Tensor", bias: "Tensor") -> Launch:
    from liger_kernel.ops.layer_norm import layer_norm_forward

    def launch() -> "Tensor":
        out: Tensor = layer_norm_forward(x, weight, bias, op.eps)[0]
        return out

    return launch


@Mrope.provider("liger_kernel", needs=_NEEDS, inplace=("q", "k"))
def _mrope(op: Mrope, q: "Tensor", k: "Tensor", cos: "Tensor", sin: "Tensor") -> Launch:
    """Its tables are as wide as a head and it reads only the left half of them: a launch copies ours there."""
    from liger_kernel.ops.qwen2vl_mrope import qwen2vl_mrope_forward

    only(len(op.sections) == 3, f"liger_kernel's mrope has three axes, not {len(op.sections)}")
    only(2 * op.pairs == op.head_dim, f"liger_kernel's mrope turns all {op.head_dim} columns of a head, not {2 * op.pairs}")
    # [1, heads, tokens, head_dim], physically token after token.
    heads_of_q = q.view(1, op.tokens, op.q_heads, op.head_dim).transpose(1, 2)
    heads_of_k = k.view(1, op.tokens, op.kv_heads, op.head_dim).transpose(1, 2)
    wide_cos, wide_sin = cos.new_zeros((2, 3, 1, op.tokens, op.head_dim)).unbind()
    left_cos, left_sin = wide_cos[:, 0, :, : op.pairs], wide_sin[:, 0, :, : op.pairs]

    def launch() -> tuple["Tensor", "Tensor"]:
        left_cos.copy_(cos)
        left_sin.copy_(sin)
        qwen2vl_mrope_forward(heads_of_q, heads_of_k, wide_cos, wide_sin, op.sections)
        return q, k

    return launch


@FusedMoe.provider("liger_kernel", needs=_NEEDS)
def _fused_moe(
    op: FusedMoe, hidden_states: "Tensor", w1: "Tensor", w2: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor"
) -> Launch:
    """Also writes what a backward pass would need, and reads one number back, so that the host waits for the GPU."""
    from liger_kernel.ops.fused_moe import LigerFusedMoEFunction

    half("liger_kernel's fused_moe", op.dtype)
    return lambda: LigerFusedMoEFunction.apply(hidden_states, w1, w2, topk_ids, topk_weights)


@MoeCountAndSort.provider("liger_kernel", needs=_NEEDS)
def _moe_count_and_sort(op: MoeCountAndSort, topk_ids: "Tensor") -> Launch:
    """Also writes the inverse order and a plan of tiles, and reads one number back, so that the host waits for the GPU."""
    from liger_kernel.ops.fused_moe import compute_routing_metadata

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        counts, begins, _, order, *_ = compute_routing_metadata(topk_ids, op.experts)
        return order, counts, begins

    return launch
