"""sgl_kernel: SGLang's own kernels, reached through torch.ops: its Python norms may hand over to flashinfer without a word.

Here those that work element by element or row by row; the others in a file per family.
"""

from typing import TYPE_CHECKING

from ...operators.causal_conv1d import CausalConv1d
from ...operators.fused_add_rms_norm import FusedAddRmsNorm
from ...operators.fused_qk_rmsnorm import FusedQkRmsnorm
from ...operators.fused_qkv_rope import FusedQkvRope
from ...operators.rms_norm import RmsNorm
from ...operators.silu_and_mul import SiluAndMul
from ...provider import Launch
from .._case import half, only
from .._pdl import pdl
from .._rope import Whole, angles

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = ("sgl-kernel|sglang-kernel", "torch")
#: The index of a state that is to be skipped: none of ours.
_NO_STATE = -1


@RmsNorm.provider("sgl_kernel", needs=NEEDS)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    import sgl_kernel  # noqa: F401
    import torch

    half("sgl_kernel's rmsnorm", op.dtype)
    kernel = torch.ops.sgl_kernel.rmsnorm.default
    out, early = torch.empty_like(x), pdl(x)

    def launch() -> "Tensor":
        kernel(out, x, weight, op.eps, early)
        return out

    return launch


@FusedAddRmsNorm.provider("sgl_kernel", needs=NEEDS, inplace=("x", "residual"))
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    import sgl_kernel  # noqa: F401
    import torch

    half("sgl_kernel's fused_add_rmsnorm", op.dtype)
    kernel = torch.ops.sgl_kernel.fused_add_rmsnorm.default
    early = pdl(x)

    def launch() -> tuple["Tensor", "Tensor"]:
        kernel(x, residual, weight, op.eps, early)
        return x, residual

    return launch


@FusedQkRmsnorm.provider("sgl_kernel", needs=NEEDS, inplace=("hidden_states",))
def _fused_qk_rmsnorm(op: FusedQkRmsnorm, hidden_states: "Tensor", q_weight: "Tensor", k_weight: "Tensor") -> Launch:
    """Two launches of its rmsnorm, on the heads where they lie: one token's are rows without gaps."""
    import sgl_kernel  # noqa: F401
    import torch

    half("sgl_kernel's rmsnorm", op.dtype)
    only(op.tokens == 1, f"sgl_kernel's rmsnorm takes rows at equal distances, which the heads of {op.tokens} tokens are not")
    kernel = torch.ops.sgl_kernel.rmsnorm.default
    heads = hidden_states.view(-1, op.head_dim)
    q, k = heads[: op.q_heads], heads[op.q_heads : op.normed_heads]
    early = pdl(hidden_states)

    def launch() -> "Tensor":
        kernel(q, q, q_weight, op.eps, early)
        kernel(k, k, k_weight, op.eps, early)
        return hidden_states

    return launch


@SiluAndMul.provider("sgl_kernel", needs=NEEDS)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    import sgl_kernel  # noqa: F401
    import torch

    half("sgl_kernel's silu_and_mul", op.dtype)
    kernel = torch.ops.sgl_kernel.silu_and_mul.default
    out = x.new_empty((op.tokens, op.hidden))

    def launch() -> "Tensor":
        kernel(out, x)
        return out

    return launch


@FusedQkvRope.provider("sgl_kernel", needs=NEEDS)
def _fused_qkv_rope(op: FusedQkvRope, qkv: "Tensor", positions: "Tensor", qkv_bias: "Tensor | None" = None) -> Launch:
    """It works in place, so torch copies qkv first, or adds the bias. Positions get 64 bits, and the table the dtype of qkv."""
    import sgl_kernel  # noqa: F401
    import torch

    half("sgl_kernel's rotary_embedding", op.dtype)
    fits = op.q_heads % op.kv_heads == 0
    only(fits, f"sgl_kernel's rotary_embedding takes no q_heads = {op.q_heads} beside kv_heads = {op.kv_heads}")
    kernel = torch.ops.sgl_kernel.rotary_embedding.default
    whole, table = Whole(op, qkv, positions, qkv_bias), angles(op, qkv.device).to(qkv.dtype)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        whole.refresh()
        kernel(whole.positions, whole.flat_q, whole.flat_k, op.head_dim, table, True)
        return whole.heads

    return launch


@CausalConv1d.provider("sgl_kernel", needs=NEEDS, inplace=("x", "initial_state"))
def _causal_conv1d(op: CausalConv1d, x: "Tensor", weight: "Tensor", bias: "Tensor", initial_state: "Tensor") -> Launch:
    """It writes over x, and leaves the last inputs in the state."""
    import sgl_kernel  # noqa: F401
    import torch

    only(2 <= op.width <= 4, f"sgl_kernel's causal_conv1d has filters of 2 to 4 columns, not {op.width}")
    kernel = torch.ops.sgl_kernel.causal_conv1d_fwd.default
    batch, begun = x[None], torch.ones(1, dtype=torch.bool, device=x.device)

    def launch() -> "Tensor":
        kernel(batch, weight, bias, initial_state, None, None, begun, True, _NO_STATE)
        return x

    return launch
