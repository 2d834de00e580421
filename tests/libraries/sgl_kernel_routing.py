"""sgl_kernel: its routers, what its grouped products start from, and the dense products of DeepSeek's layers."""

# ruff: noqa: A002, N803

import torch
from torch import Tensor

from . import Library, numerics

_HERE = Library(("sgl_kernel", "sglang_kernel"))
#: What it no longer has: the router from 0.4.5 on, the other products from 0.4.6.post1 on.
_BEFORE = Library(("sgl_kernel", "sglang_kernel-0.4.[0-4]"))


@_HERE.function("sgl_kernel", "sgl_kernel/moe.py")
def topk_sigmoid(
    topk_weights: Tensor,
    topk_ids: Tensor,
    gating_output: Tensor,
    renormalize: bool = False,
    correction_bias: Tensor | None = None,
) -> None:
    """The bias is added to a score and taken off again."""
    assert topk_weights.dtype == torch.float32 and topk_ids.dtype == torch.int32
    scores = 1 / (1 + (-gating_output.float()).exp())
    bias = torch.zeros(scores.shape[1]) if correction_bias is None else correction_bias
    assert bias.dtype == torch.float32
    best, ids = (scores + bias).topk(topk_ids.shape[1])
    weights = best - bias[ids]
    topk_weights.copy_(weights / weights.sum(-1, keepdim=True) if renormalize else weights)
    topk_ids.copy_(ids)


@_BEFORE.function("sgl_kernel", "sgl_kernel/moe.py")
def moe_fused_gate(
    input_tensor: Tensor,
    bias: Tensor,
    num_expert_group: int,
    topk_group: int,
    topk: int,
    num_fused_shared_experts: int = 0,
    routed_scaling_factor: float = 0,
    apply_routed_scaling_factor_on_output: bool = False,
) -> tuple[Tensor, Tensor]:
    """Without its last argument the weights of a row add up to 1."""
    assert input_tensor.dtype == bias.dtype and not num_fused_shared_experts
    factor = routed_scaling_factor if apply_routed_scaling_factor_on_output else 1.0
    return numerics.gate(input_tensor, bias, num_expert_group, topk_group, topk, factor)


@_HERE.function("sgl_kernel", "sgl_kernel/moe.py")
def prepare_moe_input(
    topk_ids: Tensor,
    expert_offsets: Tensor,
    problem_sizes1: Tensor,
    problem_sizes2: Tensor,
    input_permutation: Tensor,
    output_permutation: Tensor,
    num_experts: int,
    n: int,
    k: int,
    blockscale_offsets: Tensor | None = None,
) -> None:
    """Writes by address, as the kernel does: a buffer of another shape gets wrong numbers. The last of an expert comes first."""
    assert topk_ids.dtype == torch.int32 and blockscale_offsets is not None
    flat, top_k = topk_ids.flatten().tolist(), topk_ids.shape[1]
    row = tile = 0
    starts, tiles, sizes1, sizes2, tokens, rows = [0], [0], [], [], [], [0] * len(flat)
    for expert in range(num_experts):
        for position in [place for place, one in enumerate(flat) if one == expert][::-1]:
            tokens.append(position // top_k)
            rows[position] = row
            row += 1
        count = row - starts[-1]
        tile += (count + 127) // 128 * 128
        starts.append(row)
        tiles.append(tile)
        sizes1 += [count, 2 * n, k]
        sizes2 += [count, k, n]
    for buffer, values in (
        (expert_offsets, starts),
        (problem_sizes1, sizes1),
        (problem_sizes2, sizes2),
        (input_permutation, tokens),
        (output_permutation, rows),
        (blockscale_offsets, tiles),
    ):
        assert buffer.dtype == torch.int32
        buffer.view(-1).copy_(torch.tensor(values))


@_HERE.function("sgl_kernel", "sgl_kernel/moe.py")
def apply_shuffle_mul_sum(input: Tensor, output: Tensor, permutation: Tensor, factors: Tensor) -> None:
    assert input.dim() == output.dim() == 2 and permutation.dim() == 1 and permutation.dtype == torch.int32
    assert factors.dtype == output.dtype and factors.numel() == permutation.numel()
    total, top_k = torch.zeros(output.shape), len(permutation) // len(output)
    for place, (row, factor) in enumerate(zip(permutation.tolist(), factors.flatten().tolist(), strict=True)):
        total[place // top_k] += factor * input[row].float()
    output.copy_(total)


@_BEFORE.function("sgl_kernel", "sgl_kernel/gemm.py")
def dsv3_fused_a_gemm(mat_a: Tensor, mat_b: Tensor, output: Tensor | None = None) -> Tensor:
    assert output is not None and mat_b.stride(0) == 1
    assert mat_a.dtype == mat_b.dtype == output.dtype == torch.bfloat16 and len(mat_a) <= 16
    return output.copy_(numerics.by_columns(mat_a, mat_b))


@_BEFORE.function("sgl_kernel", "sgl_kernel/gemm.py")
def dsv3_router_gemm(hidden_states: Tensor, router_weights: Tensor, out_dtype: torch.dtype) -> Tensor:
    """Its weights are read row by row."""
    assert hidden_states.dtype == router_weights.dtype == torch.bfloat16 and len(hidden_states) <= 16
    assert hidden_states.is_contiguous() and router_weights.is_contiguous()
    return torch.stack([(router_weights.double() * token).sum(-1) for token in hidden_states.double()]).to(out_dtype)


@_BEFORE.function("sgl_kernel", "sgl_kernel/gemm.py")
def bmm_fp8(A: Tensor, B: Tensor, A_scale: Tensor, B_scale: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
    """Reads B column by column, without a look at its strides."""
    assert out is not None and out.dtype == dtype and A.is_contiguous() and A_scale.dtype == B_scale.dtype == torch.float32
    return out.copy_(numerics.by_columns(A.float(), B.float()) * A_scale * B_scale)
