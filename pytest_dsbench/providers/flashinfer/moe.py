"""Mixtures of experts."""

from typing import TYPE_CHECKING

from ...operators.fused_moe import FusedMoe
from ...provider import Launch
from .._case import half, only
from .._pdl import pdl
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@FusedMoe.provider("flashinfer", needs=NEEDS, opt_in=True)
def _fused_moe(
    op: FusedMoe, hidden_states: "Tensor", w1: "Tensor", w2: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor"
) -> Launch:
    """CUTLASS kernels, which take many minutes to compile: hence opt-in. The rows of up come first in its weights."""
    import torch
    from flashinfer.fused_moe import cutlass_fused_moe

    half("flashinfer's cutlass_fused_moe", op.dtype)
    fits = op.hidden % 8 == 0 and op.intermediate % 8 == 0
    only(fits, f"flashinfer's cutlass_fused_moe takes 8 columns at a time, not {op.hidden} and {op.intermediate}")
    gate, up = w1.chunk(2, 1)
    swapped = torch.cat([up, gate], 1)
    out, early = torch.empty_like(hidden_states), pdl(hidden_states)

    def launch() -> "Tensor":
        cutlass_fused_moe(hidden_states, topk_ids, topk_weights, swapped, w2, out.dtype, [], output=out, enable_pdl=early)
        return out

    return launch
