"""torch: the best native call of each operator, the one an engineer would write without a kernel library.

The compositions below are plain functions of tensors, so that torch_compile can compile the same ones.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

from ..operator import Launch
from ..operators.attention_forward import AttentionForward
from ..operators.block_scaled_mm import BlockScaledMm, dequantised
from ..operators.fp8_dynamic_per_token_quant import Fp8DynamicPerTokenQuant
from ..operators.fused_add_rms_norm import FusedAddRmsNorm
from ..operators.layer_norm import LayerNorm
from ..operators.moe_topk_gating_softmax import MoeTopkGatingSoftmax
from ..operators.rms_norm import RmsNorm
from ..operators.silu_and_mul import SiluAndMul

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ANY = ("cpu", "cuda")


def rms_norm(x: "Tensor", weight: "Tensor", eps: float) -> "Tensor":
    """x / rms(x) * weight: x [tokens, hidden], weight [hidden]."""
    from torch.nn.functional import rms_norm

    return rms_norm(x, weight.shape, weight, eps)


def add_rms_norm(x: "Tensor", residual: "Tensor", weight: "Tensor", eps: float) -> tuple["Tensor", "Tensor"]:
    """The norm of x + residual, and the sum."""
    total = x + residual
    return rms_norm(total, weight, eps), total


def silu_and_mul(x: "Tensor") -> "Tensor":
    """silu of the first half of every row times the second half."""
    from torch.nn.functional import silu

    gate, up = x.chunk(2, -1)
    return silu(gate) * up


def layer_norm(x: "Tensor", weight: "Tensor", bias: "Tensor", eps: float) -> "Tensor":
    """(x - mean(x)) / std(x) * weight + bias: x [tokens, hidden], weight and bias [hidden]."""
    from torch.nn.functional import layer_norm

    return layer_norm(x, weight.shape, weight, bias, eps)


def quantise(x: "Tensor", encoding: "torch.dtype") -> tuple["Tensor", "Tensor"]:
    """x [tokens, hidden] as fp8 codes of `encoding`, and one fp32 scale per row."""
    import torch

    largest = torch.finfo(encoding).max
    scale = x.abs().amax(-1, keepdim=True).float().clamp_min(1e-12) / largest
    codes = (x * scale.reciprocal()).clamp(-largest, largest).to(encoding)
    return codes, scale.squeeze(-1)


@RmsNorm.provider("torch", needs="torch", devices=ANY)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    return lambda: rms_norm(x, weight, op.eps)


@FusedAddRmsNorm.provider("torch", needs="torch", devices=ANY)
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    return lambda: add_rms_norm(x, residual, weight, op.eps)


@SiluAndMul.provider("torch", needs="torch", devices=ANY)
def _silu_and_mul(op: SiluAndMul, x: "Tensor") -> Launch:
    return lambda: silu_and_mul(x)


@LayerNorm.provider("torch", needs="torch", devices=ANY)
def _layer_norm(op: LayerNorm, x: "Tensor", weight: "Tensor", bias: "Tensor") -> Launch:
    return lambda: layer_norm(x, weight, bias, op.eps)


@MoeTopkGatingSoftmax.provider("torch", needs="torch", devices=ANY)
def _moe_topk_gating_softmax(op: MoeTopkGatingSoftmax, gating_output: "Tensor") -> Launch:
    def launch() -> tuple["Tensor", "Tensor"]:
        weights, ids = gating_output.softmax(-1).topk(op.top_k)
        return weights, ids.int()

    return launch


@Fp8DynamicPerTokenQuant.provider("torch", needs="torch", devices=ANY)
def _fp8_dynamic_per_token_quant(op: Fp8DynamicPerTokenQuant, x: "Tensor") -> Launch:
    from ..tensors import torch_dtype

    encoding = torch_dtype(op.fp8)
    return lambda: quantise(x, encoding)


@AttentionForward.provider("torch", needs="torch", devices=ANY)
def _attention_forward(
    op: AttentionForward, q: "Tensor", k: "Tensor", v: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_k: "Tensor"
) -> Launch:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    # Views of [1, heads, length, head_dim], one per sequence; the lengths are known here, so the bounds are not read back.
    sequences = [tuple(tensor[None, first:last].transpose(1, 2) for tensor in (q, k, v)) for first, last in pairwise(op.bounds)]

    def launch() -> "Tensor":
        outs = [scaled_dot_product_attention(query, key, value)[0].transpose(0, 1) for query, key, value in sequences]
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    return launch


@BlockScaledMm.provider("torch", needs="torch", devices=ANY)
def _block_scaled_mm(op: BlockScaledMm, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor") -> Launch:
    from ..tensors import torch_dtype

    out_dtype = torch_dtype(op.out_dtype)
    if a.is_cuda and native_block_scaling(op, a):
        return _scaled_mm(a, b, a_scales, b_scales, out_dtype)
    # bf16 products would be four times faster on a CPU, but a scaled code needs more bits than bf16 has and a CPU
    # product of bf16 rounds its result to bf16: either alone takes most of the tolerance.
    return lambda: (dequantised(a, a_scales) @ dequantised(b, b_scales).T).to(out_dtype)


def native_block_scaling(op: BlockScaledMm, a: "Tensor") -> bool:
    """Whether torch multiplies 1 x 128 by 128 x 128 scaled blocks by itself: on Hopper, where it was built for CUDA 12.9."""
    import torch
    from torch.nn import functional

    built_for = tuple(int(part) for part in (torch.version.cuda or "0").split(".")[:2])
    return (
        (op.group_n, op.group_k) == (128, 128)
        and op.out_dtype != "fp16"
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
