"""flashinfer: kernels of flashinfer-python, compiled at their first call, which falls into the correctness check.

Here those that work element by element or row by row; the others in a file per family.
"""

from typing import TYPE_CHECKING

from ...operators.fused_add_rms_norm import FusedAddRmsNorm
from ...operators.fused_qk_rmsnorm import FusedQkRmsnorm
from ...operators.fused_qkv_rope import FusedQkvRope
from ...operators.layer_norm import LayerNorm
from ...operators.rms_norm import RmsNorm
from ...operators.silu_and_mul import SiluAndMul
from ...operators.topk_filter import TopkFilter
from ...provider import Launch
from .._case import half, only
from .._pdl import pdl
from .._rope import Split, angles

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = ("flashinfer-python", "torch")


@RmsNorm.provider("flashinfer", needs=NEEDS)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    import torch
    from flashinfer.norm import rmsnorm

    half("flashinfer's rmsnorm", op.dtype)
    out, early = torch.empty_like(x), pdl(x)
    return lambda: rmsnorm(x, weight, op.eps, out=out, enable_pdl=early)


@FusedAddRmsNorm.provider("flashinfer", needs=NEEDS, inplace=("x", "residual"))
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    from flashinfer.norm import fused_add_rmsnorm

    half("flashinfer's fused_add_rmsnorm", op.dtype)
    early = pdl(x)

    def launch() -> tuple["Tensor", "Tensor"]:
        fused_add_rmsnorm(x, residual, weight, op.eps, enable_pdl=early)
        return x, residual

    return launch


@LayerNorm.provider("flashinfer", needs=NEEDS)
def _layer_norm(op: LayerNorm, x: "Tensor", weight: "Tensor", bias: "Tensor") -> Launch:
    """It takes weight and bias in fp32."""
    from flashinfer.norm import layernorm

    only(op.dtype == "bf16", f"flashinfer's layernorm takes bf16, not {op.dtype}")
    wide_weight, wide_bias = weight.float(), bias.float()
    return lambda: layernorm(x, wide_weight, wide_bias, op.eps)


@FusedQkRmsnorm.provider("flashinfer", needs=NEEDS, inplace=("hidden_states",))
def _fused_qk_rmsnorm(op: FusedQkRmsnorm, hidden_states: "Tensor", q_weight: "Tensor", k_weight: "Tensor") -> Launch:
    """Two launches of its rmsnorm, on the heads where they lie."""
    from flashinfer.norm import rmsnorm

    half("flashinfer's rmsnorm", op.dtype)
    heads = hidden_states.view(op.tokens, -1, op.head_dim)
    q, k = heads[:, : op.q_heads], heads[:, op.q_heads : op.normed_heads]
    early = pdl(hidden_states)

    def launch() -> "Tensor":
        rmsnorm(q, q_weight, op.eps, out=q, enable_pdl=early)
        rmsnorm(k, k_weight, op.eps, out=k, enable_pdl=early)
        return hidden_states

    return launch


@SiluAndMul.provider("flashinfer", needs=NEEDS)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    from flashinfer.activation import silu_and_mul

    half("flashinfer's silu_and_mul", op.dtype)
    out, early = x.new_empty((op.tokens, op.hidden)), pdl(x)
    return lambda: silu_and_mul(x, out, enable_pdl=early)


@FusedQkvRope.provider("flashinfer", needs=NEEDS)
def _fused_qkv_rope(op: FusedQkvRope, qkv: "Tensor", positions: "Tensor", qkv_bias: "Tensor | None" = None) -> Launch:
    """It turns q and k; torch copies v, and adds the bias before."""
    from flashinfer.rope import apply_rope_with_cos_sin_cache

    half("flashinfer's rope", op.dtype)
    only(op.head_dim in (64, 128, 256), f"flashinfer's rope is made for heads of 64, 128 or 256 columns, not {op.head_dim}")
    only(op.rope_dim % 16 == 0, f"flashinfer's rope turns 8 pairs at a time, not rope_dim = {op.rope_dim}")
    split, table = Split(op, qkv, qkv_bias), angles(op, qkv.device)
    flat_q, flat_k = split.q.view(op.tokens, -1), split.k.view(op.tokens, -1)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        split.refresh()
        q, k = apply_rope_with_cos_sin_cache(positions, flat_q, flat_k, op.head_dim, table)
        return q.view(split.q.shape), k.view(split.k.shape), split.copied_v()

    return launch


@TopkFilter.provider("flashinfer", needs=NEEDS)
def _topk_filter(op: TopkFilter, logits: "Tensor") -> Launch:
    from flashinfer.sampling import top_k_mask_logits

    return lambda: top_k_mask_logits(logits, op.top_k)
