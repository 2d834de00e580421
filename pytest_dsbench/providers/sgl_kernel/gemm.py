"""Matrix products."""

from typing import TYPE_CHECKING

from ...operators.block_scaled_mm import BlockScaledMm
from ...provider import Launch
from .._case import only
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@BlockScaledMm.provider("sgl_kernel", needs=NEEDS)
def _block_scaled_mm(op: BlockScaledMm, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor") -> Launch:
    """It takes the scales of a column by column, as SGLang's quantisation writes them: a launch copies ours into that order."""
    import sgl_kernel  # noqa: F401
    import torch

    from ...tensors import torch_dtype

    narrow = op.out_dtype in ("bf16", "fp16")
    only(narrow, f"sgl_kernel's fp8_blockwise_scaled_mm gives bf16 and fp16, not {op.out_dtype}")
    only(op.fp8 == "fp8_e4m3", f"sgl_kernel's fp8_blockwise_scaled_mm takes fp8_e4m3, not {op.fp8}")
    blocks = (op.group_n, op.group_k)
    only(blocks == (128, 128), f"sgl_kernel's fp8_blockwise_scaled_mm has blocks of 128 x 128, not {blocks[0]} x {blocks[1]}")
    only(op.n % 128 == 0, f"sgl_kernel's fp8_blockwise_scaled_mm takes whole blocks of the weight, and n is {op.n}")
    only(hasattr(torch.ops.sgl_kernel, "fp8_blockwise_scaled_mm"), "sgl_kernel has no fp8_blockwise_scaled_mm from 0.4.5 on")
    kernel, out_dtype = torch.ops.sgl_kernel.fp8_blockwise_scaled_mm.default, torch_dtype(op.out_dtype)
    columns = a_scales.new_empty(a_scales.T.shape).T

    def launch() -> "Tensor":
        out: Tensor = kernel(a, b.T, columns.copy_(a_scales), b_scales.T, out_dtype)
        return out

    return launch
