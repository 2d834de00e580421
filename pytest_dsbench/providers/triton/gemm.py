"""Matrix products."""

from typing import TYPE_CHECKING

from ...operators.block_scaled_mm import BlockScaledMm
from ...provider import Launch, Unsupported
from . import ours

if TYPE_CHECKING:
    from torch import Tensor


@ours(BlockScaledMm)
def _block_scaled_mm(op: BlockScaledMm, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor") -> Launch:
    from ...kernels.block_scaled_mm import block_scaled_mm
    from ...tensors import torch_dtype

    if op.fp8 != "fp8_e4m3":
        raise Unsupported(f"triton cannot multiply {op.fp8}: the tensor cores of NVIDIA GPUs take fp8_e4m3 only")
    if op.group_k % 16:
        raise Unsupported(f"group_k = {op.group_k}: this kernel loads groups in pieces of 16 bytes")
    out_dtype = torch_dtype(op.out_dtype)
    return lambda: block_scaled_mm(a, b, a_scales, b_scales, op.group_n, op.group_k, out_dtype)
