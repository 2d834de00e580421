"""Dense products of a model: its projections, the router, and one product per head."""

from typing import TYPE_CHECKING

from ...operators.bmm_fp8 import BmmFp8
from ...operators.dsv3_fused_a_gemm import Dsv3FusedAGemm
from ...operators.dsv3_router_gemm import Dsv3RouterGemm
from ...provider import Launch
from .._case import only
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@Dsv3FusedAGemm.provider("sgl_kernel", needs=NEEDS)
def _dsv3_fused_a_gemm(op: Dsv3FusedAGemm, mat_a: "Tensor", weight: "Tensor") -> Launch:
    """It takes the weight column by column, which is how ours lies, seen the other way round."""
    from sgl_kernel import dsv3_fused_a_gemm

    columns, out = weight.T, mat_a.new_empty((op.tokens, op.columns))
    return lambda: dsv3_fused_a_gemm(mat_a, columns, out)


@Dsv3RouterGemm.provider("sgl_kernel", needs=NEEDS)
def _dsv3_router_gemm(op: Dsv3RouterGemm, hidden_states: "Tensor", router_weights: "Tensor") -> Launch:
    """It takes the weight row by row, and allocates what it returns."""
    from sgl_kernel import dsv3_router_gemm

    from ...tensors import torch_dtype

    out_dtype = torch_dtype(op.out_dtype)
    return lambda: dsv3_router_gemm(hidden_states, router_weights, out_dtype)


@BmmFp8.provider("sgl_kernel", needs=NEEDS)
def _bmm_fp8(op: BmmFp8, a: "Tensor", b: "Tensor", a_scale: "Tensor", b_scale: "Tensor") -> Launch:
    """It takes b column by column and does not look at strides: any other layout gives wrong numbers without a word."""
    from sgl_kernel import bmm_fp8

    from ...tensors import torch_dtype

    only(op.fp8 == "fp8_e4m3", f"sgl_kernel's bmm_fp8 takes fp8_e4m3, not {op.fp8}")
    columns, out_dtype = b.contiguous().transpose(-2, -1), torch_dtype(op.out_dtype)
    out = a.new_empty((op.batch, op.m, op.n), dtype=out_dtype)
    return lambda: bmm_fp8(a, columns, a_scale, b_scale, out_dtype, out)
