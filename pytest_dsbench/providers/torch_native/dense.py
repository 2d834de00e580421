"""Dense products of a model: its projections, the router, and one product per head."""

from typing import TYPE_CHECKING

from ...operators.bmm_fp8 import BmmFp8
from ...operators.dsv3_fused_a_gemm import Dsv3FusedAGemm
from ...operators.dsv3_router_gemm import Dsv3RouterGemm
from ...operators.matmul import Matmul
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    from torch import Tensor


@native(Matmul)
def _matmul(op: Matmul, a: "Tensor", weight: "Tensor") -> Launch:
    from torch.nn.functional import linear

    return lambda: linear(a, weight)


@native(Dsv3FusedAGemm)
def _dsv3_fused_a_gemm(op: Dsv3FusedAGemm, mat_a: "Tensor", weight: "Tensor") -> Launch:
    from torch.nn.functional import linear

    return lambda: linear(mat_a, weight)


@native(Dsv3RouterGemm)
def _dsv3_router_gemm(op: Dsv3RouterGemm, hidden_states: "Tensor", router_weights: "Tensor") -> Launch:
    import torch
    from torch.nn.functional import linear

    if op.out_dtype == "bf16":
        return lambda: linear(hidden_states, router_weights)
    if _into_fp32(hidden_states):
        return lambda: torch.mm(hidden_states, router_weights.T, out_dtype=torch.float32)
    wide = router_weights.float()
    return lambda: linear(hidden_states.float(), wide)


@native(BmmFp8)
def _bmm_fp8(op: BmmFp8, a: "Tensor", b: "Tensor", a_scale: "Tensor", b_scale: "Tensor") -> Launch:
    """torch multiplies no batch of fp8 matrices: codes are widened to bf16, which holds each of them, the weight's beforehand."""
    import torch

    from ...tensors import torch_dtype

    out_dtype = torch_dtype(op.out_dtype)
    if _into_fp32(a):
        weight = b.bfloat16().mT
        return lambda: (torch.bmm(a.bfloat16(), weight, out_dtype=torch.float32) * (a_scale * b_scale)).to(out_dtype)
    wide = b.float().mT
    return lambda: (torch.bmm(a.float(), wide) * (a_scale * b_scale)).to(out_dtype)


def _into_fp32(x: "Tensor") -> bool:
    """Whether torch multiplies 16 bits into fp32 without rounding between: on a GPU, and not in its older versions."""
    import torch

    return x.is_cuda and hasattr(torch.ops.aten.mm, "dtype")
