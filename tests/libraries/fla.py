"""fla, from fla-core: its chunked kernels raise 2 to the power of their gates."""

# ruff: noqa: N803

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from . import Library, numerics

_HERE = Library(("fla_core",))
_NORM = "fla/modules/norm/"


@_HERE.function("fla.modules.norm.layernorm", f"{_NORM}layernorm.py")
def rms_norm(
    x: Tensor, weight: Tensor, bias: Any, residual: Tensor | None = None, eps: float = 1e-05, prenorm: bool = False
) -> Any:
    """The sum with the residual goes on unrounded."""
    assert bias is None
    total = x.float() if residual is None else x.float() + residual.float()
    out = numerics.rms(total, weight, eps).to(x.dtype)
    return (out, total.to(x.dtype)) if prenorm else out


@_HERE.function("fla.modules.norm.layernorm", f"{_NORM}layernorm.py")
def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None = None, eps: float = 1e-05, prenorm: bool = False
) -> Any:
    assert residual is None and not prenorm
    return numerics.layer(x, weight, bias, eps).to(x.dtype)


@_HERE.function("fla.modules.norm.fused_norm_gate", f"{_NORM}fused_norm_gate.py")
def rms_norm_gated(x: Tensor, g: Tensor, weight: Tensor, bias: Any, activation: str = "swish", *, eps: float = 1e-06) -> Tensor:
    assert bias is None and activation == "swish"
    return (numerics.rms(x, weight, eps) * g.float() * g.float().sigmoid()).to(x.dtype)


@_HERE.function("fla.modules.norm.l2norm", f"{_NORM}l2norm.py")
def l2norm(x: Tensor, eps: float = 1e-06) -> Tensor:
    wide = x.float()
    return (wide * (wide.square().sum(-1, keepdim=True) + eps).rsqrt()).to(x.dtype)


@_HERE.function("fla.modules.causal_conv1d", "fla/modules/causal_conv1d/ops.py")
def causal_conv1d(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Any = None,
    initial_state: Tensor | None = None,
    output_final_state: bool | None = False,
    activation: str | None = None,
) -> tuple[Tensor, None]:
    """x [batch, tokens, channels]; initial_state [batch, channels, width], whose first input no token sees."""
    assert weight is not None and bias is not None and initial_state is not None and activation == "silu"
    width = weight.shape[1]
    assert initial_state.shape == (len(x), x.shape[2], width)
    rows = torch.cat([initial_state[..., 1:], x.transpose(1, 2)], -1).float()
    total = torch.nn.functional.conv1d(rows, weight.float()[:, None], bias.float(), groups=len(weight))
    return (total * total.sigmoid()).to(x.dtype).transpose(1, 2), None


@_HERE.function("fla.ops.gated_delta_rule", "fla/ops/gated_delta_rule/fused_recurrent.py")
def fused_recurrent_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    *,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    use_beta_sigmoid_in_kernel: bool = False,
    state_v_first: bool = False,
) -> tuple[Tensor, Tensor]:
    assert g is not None and beta is not None and initial_state is not None and A_log is not None and dt_bias is not None
    assert use_qk_l2norm_in_kernel and use_gate_in_kernel and use_beta_sigmoid_in_kernel and output_final_state
    assert len(initial_state) == len(q) and scale is None and not state_v_first
    decay = (-A_log.exp() * softplus(g.float() + dt_bias.float())).exp()
    return numerics.stepped(q, k, v, decay, beta.float().sigmoid(), initial_state, 1e-6)


@_HERE.function("fla.ops.common.chunk_delta_h", "fla/ops/common/chunk_delta_h.py")
def chunk_gated_delta_rule_fwd_h(
    k: Tensor,
    w: Tensor,
    u: Tensor,
    g: Tensor | None = None,
    gk: Any = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    chunk_size: int = 64,
    save_new_value: bool = True,
    state_v_first: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    assert g is not None and initial_state is not None and output_final_state and len(initial_state) == len(k)
    return numerics.chunked_state(k, w, u, g, initial_state, chunk_size, torch.exp2)


@_HERE.function("fla.ops.common.chunk_o", "fla/ops/common/chunk_o.py")
def chunk_fwd_o(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    h: Tensor,
    g: Tensor | None = None,
    g_gamma: Any = None,
    scale: float | None = None,
    state_v_first: bool = False,
    *,
    chunk_size: int = 64,
) -> Tensor:
    assert g is not None and scale is None and not state_v_first
    return numerics.chunked_output(q, k, v, h, g, chunk_size, torch.exp2)
