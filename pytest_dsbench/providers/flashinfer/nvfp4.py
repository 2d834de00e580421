"""NVFP4: one product, and a whole layer of experts."""

from typing import TYPE_CHECKING

from ...operators.fp4_block_scale_moe import Fp4BlockScaleMoe
from ...operators.scaled_fp4_mm import ScaledFp4Mm
from ...provider import Launch
from .._pdl import pdl
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor

#: Rows of a tile of the kernels' last step, by which the rows of the weights are shuffled: theirs alone, not ours to choose.
_EPILOGUE_TILE = 128
#: Elements that share a scale, as its helpers want to be told.
_SHARED = 16


@ScaledFp4Mm.provider("flashinfer", needs=NEEDS)
def _scaled_fp4_mm(op: ScaledFp4Mm, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor", alpha: "Tensor") -> Launch:
    """It takes the weight and its scales as transposed views; which backend multiplies is left to it."""
    from flashinfer.gemm import mm_fp4

    from ...tensors import torch_dtype

    out, early = a.new_empty((op.m, op.n), dtype=torch_dtype(op.out_dtype)), pdl(a)
    weight, weight_scales = b.T, b_scales.T
    return lambda: mm_fp4(
        a=a, b=weight, a_descale=a_scales, b_descale=weight_scales, alpha=alpha, out_dtype=out.dtype, out=out, enable_pdl=early
    )


@Fp4BlockScaleMoe.provider("flashinfer", needs=NEEDS)
def _fp4_block_scale_moe(
    op: Fp4BlockScaleMoe,
    routing_logits: "Tensor",
    routing_bias: "Tensor",
    hidden_states: "Tensor",
    hidden_states_scale: "Tensor",
    gemm1_weights: "Tensor",
    gemm1_weights_scale: "Tensor",
    gemm2_weights: "Tensor",
    gemm2_weights_scale: "Tensor",
    output1_scale_scalar: "Tensor",
    output1_scale_gate_scalar: "Tensor",
    output2_scale_scalar: "Tensor",
) -> Launch:
    """TensorRT-LLM's kernels, with the weights shuffled for them beforehand.

    The order of the weights and what the three scalars scale were read from flashinfer's own preparation; without a GPU of
    compute capability 10.0 neither could be tried, nor how near its activations in 4 bits come to the reference's.
    """
    import warnings

    import torch
    from flashinfer.fused_moe import RoutingMethodType, trtllm_fp4_block_scale_moe

    # It takes scales in plain rows only, and from 0.7 on wants to be told so in words that 0.6 does not know.
    warnings.filterwarnings("ignore", "Calling a trtllm-gen block-scale MoE op", DeprecationWarning)
    w1, w1_scale = _gated_order(gemm1_weights, gemm1_weights_scale)
    w2, w2_scale = _down_order(gemm2_weights, gemm2_weights_scale)
    out = hidden_states.new_empty((op.tokens, op.hidden), dtype=torch.bfloat16)
    method, early = RoutingMethodType.DeepSeekV3.value, pdl(hidden_states)

    def launch() -> "Tensor":
        return trtllm_fp4_block_scale_moe(  # type: ignore[no-any-return]
            routing_logits=routing_logits,
            routing_bias=routing_bias,
            hidden_states=hidden_states,
            hidden_states_scale=hidden_states_scale,
            gemm1_weights=w1,
            gemm1_weights_scale=w1_scale,
            gemm1_bias=None,
            gemm1_alpha=None,
            gemm1_beta=None,
            gemm1_clamp_limit=None,
            gemm2_weights=w2,
            gemm2_weights_scale=w2_scale,
            gemm2_bias=None,
            output1_scale_scalar=output1_scale_scalar,
            output1_scale_gate_scalar=output1_scale_gate_scalar,
            output2_scale_scalar=output2_scale_scalar,
            num_experts=op.experts,
            top_k=op.top_k,
            n_group=op.groups,
            topk_group=op.kept_groups,
            intermediate_size=op.intermediate,
            local_expert_offset=0,
            local_num_experts=op.experts,
            routed_scaling_factor=op.scaling,
            routing_method_type=method,
            enable_pdl=early,
            output=out,
        )[0]

    return launch


def _gated_order(codes: "Tensor", scales: "Tensor") -> tuple["Tensor", "Tensor"]:
    """gemm1's weights and scales with up before gate, the two interleaved row by row, shuffled; scales swizzled then."""
    import torch
    from flashinfer.fused_moe.core import _maybe_get_cached_w3_w1_permute_indices
    from flashinfer.quantization.fp4_quantization import block_scale_interleave

    known: dict[object, Tensor] = {}
    half, ordered, ordered_scales = codes.shape[1] // 2, torch.empty_like(codes), torch.empty_like(scales)
    # One expert at a time: the weights of a model fill half a GPU, and are held twice as it is.
    for expert in range(len(codes)):
        rows, raw = codes[expert].roll(half, 0), scales[expert].view(torch.uint8).roll(half, 0)
        order = _maybe_get_cached_w3_w1_permute_indices(known, rows, _EPILOGUE_TILE)
        ordered[expert] = rows[order.to(rows.device)]
        order = _maybe_get_cached_w3_w1_permute_indices(known, raw, _EPILOGUE_TILE, num_elts_per_sf=_SHARED)
        tiled = block_scale_interleave(raw[order.to(raw.device)].contiguous())
        ordered_scales[expert] = tiled.view(raw.shape).view(scales.dtype)
    return ordered, ordered_scales


def _down_order(codes: "Tensor", scales: "Tensor") -> tuple["Tensor", "Tensor"]:
    """gemm2's weights and scales, shuffled; scales swizzled then."""
    import torch
    from flashinfer.fused_moe.core import get_w2_permute_indices_with_cache
    from flashinfer.quantization.fp4_quantization import block_scale_interleave

    known: dict[object, Tensor] = {}
    ordered, ordered_scales = torch.empty_like(codes), torch.empty_like(scales)
    for expert in range(len(codes)):
        rows, raw = codes[expert], scales[expert].view(torch.uint8)
        order = get_w2_permute_indices_with_cache(known, rows, _EPILOGUE_TILE)
        ordered[expert] = rows[order.to(rows.device)]
        order = get_w2_permute_indices_with_cache(known, raw, _EPILOGUE_TILE, num_elts_per_sf=_SHARED)
        tiled = block_scale_interleave(raw[order.to(raw.device)].contiguous())
        ordered_scales[expert] = tiled.view(raw.shape).view(scales.dtype)
    return ordered, ordered_scales
