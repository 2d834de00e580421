"""Dense products of a model: the router, and one product per head."""

from typing import TYPE_CHECKING

from ...operators.bmm_fp8 import BmmFp8
from ...operators.dsv3_router_gemm import Dsv3RouterGemm
from ...provider import Launch
from .._case import only
from .._pdl import pdl
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@Dsv3RouterGemm.provider("flashinfer", needs=NEEDS)
def _dsv3_router_gemm(op: Dsv3RouterGemm, hidden_states: "Tensor", router_weights: "Tensor") -> Launch:
    """It takes the weight column by column, as ours lies seen the other way round; a function for each output dtype."""
    import torch

    columns, early = router_weights.T, pdl(hidden_states)
    out_dtype = torch.float32 if op.out_dtype == "fp32" else torch.bfloat16
    out = hidden_states.new_empty((op.tokens, op.experts), dtype=out_dtype)
    if op.out_dtype == "fp32":
        from flashinfer.gemm import mm_M1_16_K7168_N256

        def launch() -> "Tensor":
            mm_M1_16_K7168_N256(hidden_states, columns, out, launch_with_pdl=early)
            return out

        return launch
    from flashinfer.gemm import mm_M1_16_K7168_N256_bf16

    def narrow() -> "Tensor":
        mm_M1_16_K7168_N256_bf16(hidden_states, columns, out, launch_with_pdl=early)
        return out

    return narrow


@BmmFp8.provider("flashinfer", needs=NEEDS)
def _bmm_fp8(op: BmmFp8, a: "Tensor", b: "Tensor", a_scale: "Tensor", b_scale: "Tensor") -> Launch:
    """cuBLAS, its default. It takes b column by column."""
    from flashinfer.gemm import bmm_fp8

    from ...tensors import torch_dtype

    only(op.fp8 == "fp8_e4m3", f"flashinfer's bmm_fp8 takes fp8_e4m3, not {op.fp8}")
    columns, out_dtype = b.contiguous().transpose(-2, -1), torch_dtype(op.out_dtype)
    out = a.new_empty((op.batch, op.m, op.n), dtype=out_dtype)
    return lambda: bmm_fp8(a, columns, a_scale, b_scale, out_dtype, out)
