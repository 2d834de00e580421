"""Matrix products."""

from typing import TYPE_CHECKING

from ...operators.block_scaled_mm import BlockScaledMm, dequantised
from ...operators.linear_sigmoid_mul import LinearSigmoidMul
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@native(BlockScaledMm)
def _block_scaled_mm(op: BlockScaledMm, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor") -> Launch:
    from ...tensors import torch_dtype

    out_dtype = torch_dtype(op.out_dtype)
    if a.is_cuda and native_block_scaling(op, a):
        return _scaled_mm(a, b, a_scales, b_scales, out_dtype)
    # bf16 products would be four times faster on a CPU, but a scaled code needs more bits than bf16 has and a CPU
    # product of bf16 rounds its result to bf16: either alone takes most of the tolerance.
    return lambda: (dequantised(a, a_scales) @ dequantised(b, b_scales, op.group_n).T).to(out_dtype)


def native_block_scaling(op: BlockScaledMm, a: "Tensor") -> bool:
    """Whether torch multiplies 1 x 128 by 128 x 128 scaled blocks by itself: on Hopper, where it was built for CUDA 12.9."""
    import torch
    from torch.nn import functional

    built_for = tuple(int(part) for part in (torch.version.cuda or "0").split(".")[:2])
    return (
        (op.group_n, op.group_k) == (128, 128)
        and op.n % 128 == 0
        and op.out_dtype != "fp16"
        and op.fp8 == "fp8_e4m3"
        and hasattr(functional, "scaled_mm")
        and built_for >= (12, 9)
        and torch.cuda.get_device_capability(a.device) == (9, 0)
    )


def _scaled_mm(a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor", out_dtype: "torch.dtype") -> Launch:
    """The product in torch's native block scaling, whose layouts differ from the operator's.

    The scales of a lie column by column, those of b by K with K blocks padded to a multiple of 4, and the rows of a come in
    fours. Those of the weight are brought into place beforehand; those of the activations at every launch.
    """
    from torch.nn.functional import ScalingType, pad, scaled_mm

    m, rows = len(a), -(-len(a) // 4) * 4
    weight_scales = pad(b_scales, (0, -b_scales.shape[1] % 4)).T
    columns = a_scales.new_ones((a_scales.shape[1], rows))
    padded = a if rows == m else a.new_empty((rows, a.shape[1]))

    def launch() -> "Tensor":
        columns[:, :m].copy_(a_scales.T)
        if padded is not a:
            padded[:m].copy_(a)
        out = scaled_mm(
            padded,
            b.T,
            columns.T,
            ScalingType.BlockWise1x128,
            weight_scales,
            ScalingType.BlockWise128x128,
            output_dtype=out_dtype,
        )
        return out[:m]

    return launch


@native(LinearSigmoidMul)
def _linear_sigmoid_mul(
    op: LinearSigmoidMul, hidden_states: "Tensor", weight: "Tensor", bias: "Tensor", post_mul_mat: "Tensor"
) -> Launch:
    from torch.nn.functional import linear

    # The one gate of a row, where there is no more than one, is spread over it.
    return lambda: linear(hidden_states, weight, bias).sigmoid() * post_mul_mat
