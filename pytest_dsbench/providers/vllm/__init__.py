"""vllm: the kernels of vLLM, by the functions through which it calls them itself.

Here those that work element by element or row by row; the others in a file per family.
"""

from typing import TYPE_CHECKING

from ...operators.fused_add_rms_norm import FusedAddRmsNorm
from ...operators.fused_qkv_rope import FusedQkvRope
from ...operators.mrope import Mrope
from ...operators.rms_norm import RmsNorm
from ...operators.silu_and_mul import SiluAndMul
from ...provider import Launch
from .._case import only
from .._rope import Whole, angles

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = ("vllm", "torch")


@RmsNorm.provider("vllm", needs=NEEDS)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    import torch
    from vllm._custom_ops import rms_norm

    out = torch.empty_like(x)

    def launch() -> "Tensor":
        rms_norm(out, x, weight, op.eps)
        return out

    return launch


@FusedAddRmsNorm.provider("vllm", needs=NEEDS, inplace=("x", "residual"))
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    from vllm._custom_ops import fused_add_rms_norm

    def launch() -> tuple["Tensor", "Tensor"]:
        fused_add_rms_norm(x, residual, weight, op.eps)
        return x, residual

    return launch


@SiluAndMul.provider("vllm", needs=NEEDS)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    import torch
    import vllm._custom_ops  # noqa: F401

    kernel = torch.ops._C.silu_and_mul
    out = x.new_empty((op.tokens, op.hidden))

    def launch() -> "Tensor":
        kernel(out, x)
        return out

    return launch


@FusedQkvRope.provider("vllm", needs=NEEDS)
def _fused_qkv_rope(op: FusedQkvRope, qkv: "Tensor", positions: "Tensor", qkv_bias: "Tensor | None" = None) -> Launch:
    """It works in place, so torch copies qkv first, or adds the bias. Positions get 64 bits, and the table the dtype of qkv."""
    from vllm._custom_ops import rotary_embedding

    fits = op.q_heads % op.kv_heads == 0
    only(fits, f"vllm's rotary_embedding takes no q_heads = {op.q_heads} beside kv_heads = {op.kv_heads}")
    whole, table = Whole(op, qkv, positions, qkv_bias), angles(op, qkv.device).to(qkv.dtype)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        whole.refresh()
        rotary_embedding(whole.positions, whole.flat_q, whole.flat_k, op.head_dim, table, True)
        return whole.heads

    return launch


@Mrope.provider("vllm", needs=NEEDS, inplace=("q", "k"))
def _mrope(op: Mrope, q: "Tensor", k: "Tensor", cos: "Tensor", sin: "Tensor") -> Launch:
    from inspect import signature

    from vllm.model_executor.layers.rotary_embedding.mrope import triton_mrope

    only(len(op.sections) == 3, f"vllm's mrope has three axes, not {len(op.sections)}")
    # Younger releases turn pairs of neighbours too, and want to be told.
    style = [True] if "is_neox_style" in signature(triton_mrope).parameters else []
    sections, width = list(op.sections), 2 * op.pairs

    def launch() -> tuple["Tensor", "Tensor"]:
        triton_mrope(q, k, cos, sin, sections, op.head_dim, width, False, *style)
        return q, k

    return launch
