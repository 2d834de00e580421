"""flashinfer: NVFP4, a product and TensorRT-LLM's layer of experts with what brings its weights into order."""

import warnings
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from . import Library, nvfp4

_HERE = Library(("flashinfer_python",))


class RoutingMethodType(IntEnum):
    """Of the ways to route, those that can be mistaken for each other."""

    Default = 0
    Renormalize = 1
    DeepSeekV3 = 2


_HERE.value("flashinfer.fused_moe", "RoutingMethodType", RoutingMethodType)


@_HERE.function("flashinfer.gemm", "flashinfer/gemm/gemm_base.py")
def mm_fp4(
    a: Tensor,
    b: Tensor,
    a_descale: Tensor,
    b_descale: Tensor,
    alpha: Tensor | None = None,
    *,
    out_dtype: torch.dtype,
    out: Tensor | None = None,
    block_size: int = 16,
    use_8x4_sf_layout: bool = False,
    backend: str = "auto",
    use_nvfp4: bool = True,
    enable_pdl: bool = True,
) -> Tensor:
    """b is [k / 2, n] column by column, and its scales are transposed too."""
    assert a.shape[1] == b.shape[0] and b.stride(0) == 1 and b_descale.stride(0) == 1 and use_nvfp4 and not use_8x4_sf_layout
    assert alpha is not None and alpha.numel() == 1 and alpha.dtype == torch.float32 and enable_pdl
    assert out is not None and out.dtype == out_dtype and block_size == 16 and backend == "auto"
    return out.copy_(nvfp4.product(a, a_descale, b.T, b_descale.T) * alpha)


def _shuffled_row(row: Tensor) -> Tensor:
    """Where a row goes within its 32: columns of an 8 x 4 tile become rows."""
    return row // 32 * 32 + row % 4 * 8 + row % 32 // 4


def _shuffle(rows: int) -> Tensor:
    """By place, the row that comes there."""
    old = torch.arange(rows)
    assert rows % 32 == 0
    order = torch.empty_like(old)
    order[_shuffled_row(old)] = old
    return order


def _checked(weight: Tensor, epilogue_tile_m: int, num_elts_per_sf: int | None) -> int:
    assert weight.dim() == 2 and epilogue_tile_m == 128 and num_elts_per_sf in (None, 16)
    if num_elts_per_sf:
        assert weight.dtype == torch.uint8 and len(weight) % 128 == 0
    return len(weight)


@_HERE.function("flashinfer.fused_moe.core", "flashinfer/fused_moe/core.py")
def _maybe_get_cached_w3_w1_permute_indices(
    _cache_permute_indices: dict[Any, Tensor],
    dst_w3_w1_weight: Tensor,
    epilogue_tile_m: int,
    num_elts_per_sf: int | None = None,
    is_gated_act_gemm: bool = True,
) -> Tensor:
    """The two halves row by row in turn, then shuffled."""
    rows = _checked(dst_w3_w1_weight, epilogue_tile_m, num_elts_per_sf)
    assert is_gated_act_gemm
    in_turn = torch.arange(rows).view(2, -1).T.flatten()
    return _cache_permute_indices.setdefault(("w3_w1", dst_w3_w1_weight.shape), in_turn[_shuffle(rows)])


@_HERE.function("flashinfer.fused_moe.core", "flashinfer/fused_moe/core.py")
def get_w2_permute_indices_with_cache(
    _cache_permute_indices: dict[Any, Tensor], dst_w2_weight: Tensor, epilogue_tile_m: int, num_elts_per_sf: int | None = None
) -> Tensor:
    rows = _checked(dst_w2_weight, epilogue_tile_m, num_elts_per_sf)
    return _cache_permute_indices.setdefault(("w2", dst_w2_weight.shape), _shuffle(rows))


@_HERE.function("flashinfer.quantization.fp4_quantization", "flashinfer/quantization/fp4_quantization.py")
def block_scale_interleave(unswizzled_sf: Tensor) -> Tensor:
    """Swizzled, padded to whole tiles, flat."""
    assert unswizzled_sf.dtype == torch.uint8 and unswizzled_sf.is_contiguous()
    rows, columns = unswizzled_sf.shape
    width = -(-columns // 4) * 4
    flat = torch.zeros(-(-rows // 128) * 128 * width, dtype=torch.uint8)
    flat[nvfp4.offsets(rows, columns, width)] = unswizzled_sf
    return flat


def _unshuffled(codes: Tensor, scales: Tensor) -> Tensor:
    """The weight of one expert, with the rows in the order before the shuffle, fp32."""
    return nvfp4.tiled(codes, scales)[_shuffled_row(torch.arange(len(codes)))]


def _routed(logits: Tensor, bias: Tensor, groups: int, kept: int, top_k: int) -> tuple[list[int], list[float]]:
    """One token: its experts and their shares, group by group."""
    scores = (1 / (1 + (-logits.double()).exp())).tolist()
    choice = [score + extra for score, extra in zip(scores, bias.double().tolist(), strict=True)]
    size = len(choice) // groups
    worth = [sum(sorted(choice[size * group : size * (group + 1)])[-2:]) for group in range(groups)]
    best = sorted(range(groups), key=lambda group: -worth[group])[:kept]
    ids = sorted((expert for group in best for expert in range(size * group, size * (group + 1))), key=lambda one: -choice[one])
    chosen = ids[:top_k]
    return chosen, [scores[expert] / sum(scores[one] for one in chosen) for expert in chosen]


@_HERE.function("flashinfer.fused_moe", "flashinfer/fused_moe/core.py")
def trtllm_fp4_block_scale_moe(
    routing_logits: Tensor,
    routing_bias: Tensor | None,
    hidden_states: Tensor,
    hidden_states_scale: Tensor | None,
    gemm1_weights: Tensor,
    gemm1_weights_scale: Tensor,
    gemm1_bias: Tensor | None,
    gemm1_alpha: Tensor | None,
    gemm1_beta: Tensor | None,
    gemm1_clamp_limit: Tensor | None,
    gemm2_weights: Tensor,
    gemm2_weights_scale: Tensor,
    gemm2_bias: Tensor | None,
    output1_scale_scalar: Tensor | None,
    output1_scale_gate_scalar: Tensor | None,
    output2_scale_scalar: Tensor | None,
    num_experts: int,
    top_k: int,
    n_group: int | None,
    topk_group: int | None,
    intermediate_size: int,
    local_expert_offset: int,
    local_num_experts: int,
    routed_scaling_factor: float | None,
    routing_method_type: int = 0,
    do_finalize: bool = True,
    enable_pdl: bool | None = None,
    *,
    output: Tensor | None = None,
) -> list[Tensor]:
    """Token by token; the activation is rounded to bf16 on its way to 4 bits, and weights of the router too."""
    # Releases from 0.7 on say so at every call.
    warnings.warn("Calling a trtllm-gen block-scale MoE op without a layout is deprecated", DeprecationWarning, stacklevel=2)
    assert gemm1_bias is gemm1_alpha is gemm1_beta is gemm1_clamp_limit is gemm2_bias is None and do_finalize
    assert routing_method_type == RoutingMethodType.DeepSeekV3 and routing_logits.dtype == torch.float32
    assert routing_bias is not None and hidden_states_scale is not None and output is not None and enable_pdl is not None
    assert output1_scale_scalar is not None and output1_scale_gate_scalar is not None and output2_scale_scalar is not None
    assert n_group is not None and topk_group is not None and routed_scaling_factor is not None
    assert (local_expert_offset, local_num_experts) == (0, num_experts) and gemm1_weights.shape[1] == 2 * intermediate_size
    x = nvfp4.plain(hidden_states, hidden_states_scale)
    for token, logits in enumerate(routing_logits):
        total = torch.zeros(x.shape[1])
        for expert, share in zip(*_routed(logits, routing_bias, n_group, topk_group, top_k), strict=True):
            both = _unshuffled(gemm1_weights[expert], gemm1_weights_scale[expert]) @ x[token]
            up, gate = both[::2] * output1_scale_scalar[expert], both[1::2] * output1_scale_gate_scalar[expert]
            codes, scales = nvfp4.rounded((gate * gate.sigmoid() * up)[None].bfloat16(), 1.0)
            given = _unshuffled(gemm2_weights[expert], gemm2_weights_scale[expert]) @ nvfp4.plain(codes, scales)[0]
            total += given * output2_scale_scalar[expert] * torch.tensor(share * routed_scaling_factor).bfloat16()
        output[token] = total
    return [output]
