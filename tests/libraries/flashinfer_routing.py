"""flashinfer: DeepSeek's router and its logits, and one fp8 product per head."""

# ruff: noqa: N803

import torch
from torch import Tensor

from . import Library, numerics

_HERE = Library(("flashinfer_python",))
#: The router that gives bf16 came with 0.7.
_LATER = Library(("flashinfer_python-0.7*",))


def _router_gemm(mat_a: Tensor, mat_b: Tensor, out: Tensor, dtype: torch.dtype) -> None:
    """Both are compiled for one size."""
    assert mat_a.dtype == mat_b.dtype == torch.bfloat16 and out.dtype == dtype
    assert mat_a.shape[1] == 7168 and mat_b.shape == (7168, 256) and 1 <= len(mat_a) <= 16
    assert mat_a.stride(1) == mat_b.stride(0) == out.stride(1) == 1
    out.copy_(numerics.by_columns(mat_a, mat_b))


@_HERE.function("flashinfer.gemm", "flashinfer/gemm/routergemm.py")
def mm_M1_16_K7168_N256(mat_a: Tensor, mat_b: Tensor, out: Tensor, launch_with_pdl: bool = True) -> None:  # noqa: N802
    _router_gemm(mat_a, mat_b, out, torch.float32)


@_LATER.function("flashinfer.gemm", "flashinfer/gemm/routergemm.py")
def mm_M1_16_K7168_N256_bf16(mat_a: Tensor, mat_b: Tensor, out: Tensor, launch_with_pdl: bool = True) -> None:  # noqa: N802
    _router_gemm(mat_a, mat_b, out, torch.bfloat16)


@_HERE.function("flashinfer.gemm", "flashinfer/gemm/gemm_base.py")
def bmm_fp8(
    A: Tensor,
    B: Tensor,
    A_scale: Tensor,
    B_scale: Tensor,
    dtype: torch.dtype,
    out: Tensor | None = None,
    backend: str = "cublas",
) -> Tensor:
    assert out is not None and out.dtype == dtype and A.is_contiguous() and backend == "cublas"
    return out.copy_(numerics.by_columns(A.float(), B.float()) * A_scale * B_scale)


@_HERE.function("flashinfer.fused_moe", "flashinfer/fused_moe/fused_routing_dsv3.py")
def fused_topk_deepseek(
    scores: Tensor,
    bias: Tensor,
    n_group: int,
    topk_group: int,
    topk: int,
    routed_scaling_factor: float,
    topk_values: Tensor,
    topk_indices: Tensor,
    launch_with_pdl: bool = True,
) -> None:
    """Computes in fp32, and writes weights in the dtype of its scores."""
    assert topk_values.dtype == scores.dtype == bias.dtype and topk_indices.dtype == torch.int32
    assert topk <= 8 and scores.shape[1] // n_group <= 32
    weights, ids = numerics.gate(scores.float(), bias.float(), n_group, topk_group, topk, routed_scaling_factor)
    topk_values.copy_(weights)
    topk_indices.copy_(ids)
