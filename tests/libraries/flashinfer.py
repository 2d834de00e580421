"""flashinfer: what works element by element or row by row, mixtures of experts, and its step of the delta rule."""

# ruff: noqa: A002, N803

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from . import Library, numerics

HERE = Library(("flashinfer_python",))


@HERE.function("flashinfer.norm", "flashinfer/norm/__init__.py")
def rmsnorm(input: Tensor, weight: Tensor, eps: float = 1e-06, out: Tensor | None = None, enable_pdl: Any = None) -> Tensor:
    assert out is not None and enable_pdl is not None and input.stride(-1) == 1
    return out.copy_(numerics.rms(input, weight, eps))


@HERE.function("flashinfer.norm", "flashinfer/norm/__init__.py")
def fused_add_rmsnorm(input: Tensor, residual: Tensor, weight: Tensor, eps: float = 1e-06, enable_pdl: Any = None) -> None:
    """The norm is that of the unrounded sum."""
    total = input.float() + residual.float()
    residual.copy_(total)
    input.copy_(numerics.rms(total, weight, eps))


@HERE.function("flashinfer.norm", "flashinfer/norm/__init__.py")
def layernorm(input: Tensor, gemma: Tensor, beta: Tensor, eps: float = 1e-06) -> Tensor:
    assert input.dtype == torch.bfloat16 and gemma.dtype == beta.dtype == torch.float32
    return numerics.layer(input, gemma, beta, eps).to(input.dtype)


@HERE.function("flashinfer.activation", "flashinfer/activation.py")
def silu_and_mul(input: Tensor, out: Tensor | None = None, enable_pdl: Any = None) -> Tensor:
    assert out is not None and input.shape[-1] % 16 == 0
    return out.copy_(numerics.gated(input))


@HERE.function("flashinfer.rope", "flashinfer/rope.py")
def apply_rope_with_cos_sin_cache(
    positions: Tensor, query: Tensor, key: Tensor, head_size: int, cos_sin_cache: Tensor, is_neox: bool = True
) -> tuple[Tensor, Tensor]:
    assert is_neox and cos_sin_cache.dtype == torch.float32
    cos, sin = cos_sin_cache[positions.long()].chunk(2, -1)
    first, second = (numerics.rotated(x.unflatten(-1, (-1, head_size)), cos, sin).flatten(1) for x in (query, key))
    return first, second


@HERE.function("flashinfer.sampling", "flashinfer/sampling.py")
def top_k_mask_logits(logits: Tensor, top_k: int) -> Tensor:
    """Keeps all that equal the last that is kept."""
    return logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)


@HERE.function("flashinfer.gdn_decode", "flashinfer/gdn_decode.py")
def gated_delta_rule_decode(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    state: Tensor,
    A_log: Tensor,
    a: Tensor,
    dt_bias: Tensor,
    b: Tensor,
    scale: float | None = None,
    output: Tensor | None = None,
    use_qk_l2norm: bool = True,
) -> tuple[Tensor, Tensor]:
    """One step of every sequence, on states [batch, v_heads, key_dim, value_dim] that it overwrites."""
    assert q.shape[1] == 1 and len(state) == len(q) and scale is None and use_qk_l2norm and output is not None
    assert state.dtype == A_log.dtype == torch.float32 and q.shape[-1] == 128 and v.shape[-1] >= 128
    decay = (-A_log.exp() * softplus(a.float() + dt_bias.float())).exp()
    out, after = numerics.stepped(q, k, v, decay, b.float().sigmoid(), state, 1e-6)
    return output.copy_(out), state.copy_(after)


@HERE.function("flashinfer.fused_moe", "flashinfer/fused_moe/core.py")
def cutlass_fused_moe(
    input: Tensor,
    token_selected_experts: Tensor,
    token_final_scales: Tensor,
    fc1_expert_weights: Tensor,
    fc2_expert_weights: Tensor,
    output_dtype: torch.dtype,
    quant_scales: list[Tensor],
    *,
    output: Tensor | None = None,
    enable_pdl: bool | None = None,
) -> Tensor:
    """The rows of up come first, those of the gate second."""
    assert output is not None and output.dtype == output_dtype and not quant_scales
    assert token_selected_experts.dtype == torch.int32 and token_final_scales.dtype == torch.float32
    up, gate = fc1_expert_weights.chunk(2, 1)
    weights = torch.cat([gate, up], 1)
    return output.copy_(numerics.experts(input, weights, fc2_expert_weights, token_final_scales, token_selected_experts))
