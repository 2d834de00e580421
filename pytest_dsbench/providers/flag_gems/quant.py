"""Quantisation of activations, and products of what is quantised."""

from typing import TYPE_CHECKING

from ...operators.block_scaled_mm import BlockScaledMm
from ...operators.fp8_dynamic_per_token_quant import _SMALLEST, Fp8DynamicPerTokenQuant
from ...operators.per_token_group_quant_fp8 import SMALLEST_SCALE, PerTokenGroupQuantFp8
from ...provider import Launch
from .._case import only
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor

#: The largest code of fp8_e4m3.
_LARGEST = 448.0


@Fp8DynamicPerTokenQuant.provider("flag_gems", needs=NEEDS)
def _fp8_dynamic_per_token_quant(op: Fp8DynamicPerTokenQuant, x: "Tensor") -> Launch:
    """One group as wide as the row."""
    import torch
    from flag_gems.ops import per_token_group_quant_fp8

    _e4m3(op.fp8)

    def launch() -> tuple["Tensor", "Tensor"]:
        q, scale = per_token_group_quant_fp8(x, op.hidden, eps=_SMALLEST, dtype=torch.float8_e4m3fn)
        return q, scale.view(op.tokens)

    return launch


@PerTokenGroupQuantFp8.provider("flag_gems", needs=NEEDS)
def _per_token_group_quant_fp8(op: PerTokenGroupQuantFp8, x: "Tensor") -> Launch:
    """Its bound is one of magnitudes, ours one of scales."""
    import torch
    from flag_gems.ops import per_token_group_quant_fp8

    _e4m3(op.fp8)
    return lambda: per_token_group_quant_fp8(x, op.group, eps=SMALLEST_SCALE * _LARGEST, dtype=torch.float8_e4m3fn)


@BlockScaledMm.provider("flag_gems", needs=NEEDS)
def _block_scaled_mm(op: BlockScaledMm, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor") -> Launch:
    """As the package exports it: on Hopper it has another kernel of that name."""
    from flag_gems import w8a8_block_fp8_matmul

    from ...tensors import torch_dtype

    _e4m3(op.fp8)
    blocks = [op.group_n, op.group_k]
    only(blocks == [128, 128], f"flag_gems's block-scaled product is made for blocks of 128 x 128, not {blocks[0]} x {blocks[1]}")
    out_dtype = torch_dtype(op.out_dtype)
    return lambda: w8a8_block_fp8_matmul(a, b, a_scales, b_scales, blocks, out_dtype)


def _e4m3(fp8: str) -> None:
    only(fp8 == "fp8_e4m3", f"flag_gems quantises to fp8_e4m3, not {fp8}")
