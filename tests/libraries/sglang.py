"""sglang: the first projection of DeepSeek's latent attention, and its router, by published signatures: no wheel was read."""

import torch
from torch import Tensor

from . import Library, numerics

_HERE = Library(("sglang",))


@_HERE.function("sglang.kernels.ops.gemm.dsv3_fused_a_gemm", "sglang/kernels/ops/gemm/dsv3_fused_a_gemm.py")
def dsv3_fused_a_gemm(mat_a: Tensor, mat_b: Tensor, output: Tensor | None = None) -> Tensor:
    assert output is not None and mat_b.stride(0) == 1 and mat_a.dtype == mat_b.dtype == output.dtype == torch.bfloat16
    return output.copy_(numerics.by_columns(mat_a, mat_b))


@_HERE.function("sglang.kernels.ops.moe.moe_fused_gate", "sglang/kernels/ops/moe/moe_fused_gate.py")
def moe_fused_gate(
    scores: Tensor,
    bias: Tensor | None,
    topk: int,
    scoring_func: str = "sigmoid",
    num_fused_shared_experts: int = 0,
    renormalize: bool = True,
    routed_scaling_factor: float = 1.0,
    apply_routed_scaling_factor_on_output: bool = False,
    moe_softcapping: float = 0.0,
    num_expert_group: int = 1,
    topk_group: int = 1,
) -> tuple[Tensor, Tensor]:
    """Computes in fp32. Without the switch the weights of a row add up to 1."""
    assert bias is not None and scoring_func == "sigmoid" and renormalize
    assert not (num_fused_shared_experts or moe_softcapping)
    factor = routed_scaling_factor if apply_routed_scaling_factor_on_output else 1.0
    return numerics.gate(scores.float(), bias.float(), num_expert_group, topk_group, topk, factor)
