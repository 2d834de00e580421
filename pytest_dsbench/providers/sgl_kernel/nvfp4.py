"""NVFP4: products and quantisation."""

from typing import TYPE_CHECKING

from ...operators.fp4_group_mm import Fp4GroupMm
from ...operators.scaled_fp4_experts_quant import ScaledFp4ExpertsQuant
from ...operators.scaled_fp4_mm import ScaledFp4Mm
from ...provider import Launch
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@ScaledFp4Mm.provider("sgl_kernel", needs=NEEDS)
def _scaled_fp4_mm(op: ScaledFp4Mm, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor", alpha: "Tensor") -> Launch:
    from sgl_kernel import cutlass_scaled_fp4_mm

    from ...tensors import torch_dtype

    out_dtype = torch_dtype(op.out_dtype)
    return lambda: cutlass_scaled_fp4_mm(a, b, a_scales, b_scales, alpha, out_dtype)


@ScaledFp4ExpertsQuant.provider("sgl_kernel", needs=NEEDS)
def _scaled_fp4_experts_quant(
    op: ScaledFp4ExpertsQuant,
    input: "Tensor",  # noqa: A002
    input_global_scale: "Tensor",
    expert_offsets: "Tensor",
    blockscale_offsets: "Tensor",
) -> Launch:
    """Through torch.ops: its Python function allocates, at every call, scales for as many rows as an environment variable says.

    That is 65,536 times top_k where it is not set. Here the buffers have the right size and are made once, padding cleared.
    """
    import sgl_kernel  # noqa: F401
    import torch

    kernel = torch.ops.sgl_kernel.scaled_fp4_experts_quant.default
    rows, columns = op.outputs()["scales"].shape
    codes = input.new_empty((op.rows, op.hidden // 2), dtype=torch.uint8)
    # It counts four scales as one integer.
    scales = input.new_zeros((rows, columns // 4), dtype=torch.int32)
    plain = scales.view(torch.float8_e4m3fn)

    def launch() -> tuple["Tensor", "Tensor"]:
        kernel(codes, scales, input, input_global_scale, expert_offsets, blockscale_offsets)
        return codes, plain

    return launch


@Fp4GroupMm.provider("sgl_kernel", needs=NEEDS)
def _fp4_group_mm(
    op: Fp4GroupMm,
    a: "Tensor",
    b: "Tensor",
    a_scales: "Tensor",
    b_scales: "Tensor",
    alphas: "Tensor",
    problem_sizes: "Tensor",
    expert_offsets: "Tensor",
    blockscale_offsets: "Tensor",
) -> Launch:
    """Its strides count elements, not bytes; where the last expert ends is in the sizes."""
    import torch
    from sgl_kernel import cutlass_fp4_group_mm

    from ...tensors import torch_dtype

    out_dtype = torch_dtype(op.out_dtype)
    params = {
        "ab_strides": torch.full((op.experts,), op.k, dtype=torch.int64, device=a.device),
        "c_strides": torch.full((op.experts,), op.n, dtype=torch.int64, device=a.device),
        "problem_sizes": problem_sizes,
        "expert_offsets": expert_offsets[:-1],
        "blockscale_offsets": blockscale_offsets[:-1],
    }
    return lambda: cutlass_fp4_group_mm(a, b, a_scales, b_scales, alphas, out_dtype, a.device, params)
