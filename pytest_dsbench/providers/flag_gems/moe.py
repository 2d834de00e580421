"""Mixtures of experts: routing, sorting tokens by expert, the experts themselves, and the sum at the end."""

from typing import TYPE_CHECKING, Any

from ...operators.fp8_blockscale_fused_moe import Fp8BlockscaleFusedMoe
from ...operators.fused_moe import FusedMoe
from ...operators.moe_align_block_size import MoeAlignBlockSize
from ...operators.moe_sum_reduce import MoeSumReduce
from ...operators.moe_topk_gating_softmax import MoeTopkGatingSoftmax
from ...provider import Launch
from .._case import half, only
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor

#: What its routing kernel holds in one program.
_MOST_EXPERTS, _MOST_CHOSEN = 1024, 32
#: Tokens that the experts take at a time, as the library does for other dtypes.
_CHUNK = 16384


@MoeTopkGatingSoftmax.provider("flag_gems", needs=NEEDS)
def _moe_topk_gating_softmax(op: MoeTopkGatingSoftmax, gating_output: "Tensor") -> Launch:
    """It also writes where each choice would lie expert by expert."""
    import torch
    from flag_gems.fused import topk_softmax

    only(op.experts <= _MOST_EXPERTS, f"flag_gems's topk_softmax takes at most {_MOST_EXPERTS} experts, not {op.experts}")
    only(op.top_k <= _MOST_CHOSEN, f"flag_gems's topk_softmax takes at most {_MOST_CHOSEN} of them, not top_k = {op.top_k}")
    weights = gating_output.new_empty((op.tokens, op.top_k))
    ids, places = weights.new_empty((2, *weights.shape), dtype=torch.int32).unbind()

    def launch() -> tuple["Tensor", "Tensor"]:
        topk_softmax(weights, ids, places, gating_output, False)
        return weights, ids

    return launch


@MoeAlignBlockSize.provider("flag_gems", needs=NEEDS)
def _moe_align_block_size(op: MoeAlignBlockSize, topk_ids: "Tensor") -> Launch:
    """It gives as many blocks as there could be at worst; ours are the first of them."""
    from flag_gems.fused import moe_align_block_size

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        order, owners, count = moe_align_block_size(topk_ids, op.block_size, op.experts)
        return order[: op.blocks * op.block_size], owners[: op.blocks], count

    return launch


@MoeSumReduce.provider("flag_gems", needs=NEEDS)
def _moe_sum_reduce(op: MoeSumReduce, expert_outputs: "Tensor") -> Launch:
    from flag_gems.fused import moe_sum

    only(op.scale == 1, f"flag_gems's moe_sum does not scale by {op.scale:g}")
    out = expert_outputs.new_empty((op.tokens, op.hidden))

    def launch() -> "Tensor":
        moe_sum(expert_outputs, out)
        return out

    return launch


@FusedMoe.provider("flag_gems", needs=NEEDS)
def _fused_moe(
    op: FusedMoe, hidden_states: "Tensor", w1: "Tensor", w2: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor"
) -> Launch:
    from flag_gems.fused.fused_moe import fused_experts_impl

    half("flag_gems's fused_experts_impl", op.dtype)
    return lambda: fused_experts_impl(hidden_states, w1, w2, topk_weights, topk_ids)


@Fp8BlockscaleFusedMoe.provider("flag_gems", needs=NEEDS)
def _fp8_blockscale_fused_moe(
    op: Fp8BlockscaleFusedMoe,
    hidden_states: "Tensor",
    a_scale: "Tensor",
    w1: "Tensor",
    fc1_scale: "Tensor",
    w2: "Tensor",
    fc2_scale: "Tensor",
    topk_weights: "Tensor",
    topk_ids: "Tensor",
) -> Launch:
    """The steps of its fused_experts_impl after the first, which quantises the tokens: here they are quantised already."""
    from ...tensors import torch_dtype

    half("flag_gems's MoE", op.out_dtype)
    only(op.fp8 == "fp8_e4m3", f"flag_gems's MoE takes fp8_e4m3, not {op.fp8}")
    only(op.group == 128, f"flag_gems's MoE is made for blocks of 128 x 128, not {op.group} x {op.group}")
    out = hidden_states.new_empty((op.tokens, op.hidden), dtype=torch_dtype(op.out_dtype))
    steps = [
        _steps(op, *(tensor[start : start + _CHUNK] for tensor in (hidden_states, a_scale, topk_weights, topk_ids, out)))
        for start in range(0, op.tokens, _CHUNK)
    ]

    def launch() -> "Tensor":
        for step in steps:
            step(w1, fc1_scale, w2, fc2_scale)
        return out

    return launch


def _steps(
    op: Fp8BlockscaleFusedMoe, codes: "Tensor", scale: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor", out: "Tensor"
) -> Any:
    """(w1, fc1_scale, w2, fc2_scale) -> None: writes `out` for some tokens."""
    import triton.language as tl
    from flag_gems.fused import dispatch_fused_moe_kernel, moe_align_block_size, moe_sum
    from flag_gems.fused import fused_moe as library

    tokens, blocks = len(codes), [op.group, op.group]
    gate_up, down = (op.experts, 2 * op.intermediate, op.hidden), (op.experts, op.hidden, op.intermediate)
    config = library.try_get_optimal_moe_config(gate_up, down, op.top_k, "fp8_w8a8", tokens, E=op.experts, block_shape=blocks)
    # On Hopper it may choose 48 rows, which is no power of two, as Triton wants it.
    config = config | {"BLOCK_SIZE_M": 1 << (config["BLOCK_SIZE_M"] - 1).bit_length()}
    how = {
        "compute_type": tl.bfloat16 if op.out_dtype == "bf16" else tl.float16,
        "use_fp8_w8a8": True,
        "use_int8_w8a8": False,
        "use_int8_w8a16": False,
        "use_int4_w4a16": False,
        "per_channel_quant": False,
        "block_shape": blocks,
    }
    wide = out.new_empty((tokens, op.top_k, 2 * op.intermediate))
    active = out.new_empty((tokens * op.top_k, op.intermediate))
    parts = out.new_empty((tokens, op.top_k, op.hidden))

    def run(w1: "Tensor", fc1_scale: "Tensor", w2: "Tensor", fc2_scale: "Tensor") -> None:
        order = moe_align_block_size(topk_ids, config["BLOCK_SIZE_M"], op.experts)
        dispatch_fused_moe_kernel(codes, w1, wide, scale, fc1_scale, None, topk_weights, *order, False, op.top_k, config, **how)
        library.apply_moe_activation(library.MoEActivation.SILU, active, wide.view(len(active), -1))
        again, again_scale = library.moe_kernel_quantize_input(active, None, codes.dtype, False, blocks)
        dispatch_fused_moe_kernel(again, w2, parts, again_scale, fc2_scale, None, topk_weights, *order, True, 1, config, **how)
        moe_sum(parts, out)

    return run
