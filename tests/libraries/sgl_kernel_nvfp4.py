"""sgl_kernel: NVFP4, which only its last release under that name has whole."""

# ruff: noqa: A002

from typing import Any

import torch
from torch import Tensor

from . import Library, nvfp4

_HERE = Library(("sgl_kernel",))


@_HERE.function("sgl_kernel", "sgl_kernel/gemm.py")
def cutlass_scaled_fp4_mm(
    a: Tensor, b: Tensor, block_scale_a: Tensor, block_scale_b: Tensor, alpha: Tensor, out_dtype: torch.dtype
) -> Tensor:
    assert a.is_contiguous() and b.is_contiguous() and alpha.dtype == torch.float32 and alpha.numel() == 1
    assert out_dtype in (torch.bfloat16, torch.float16) and len(b) % 32 == 0 and a.shape[1] % 16 == 0
    return (nvfp4.product(a, block_scale_a, b, block_scale_b) * alpha).to(out_dtype)


@_HERE.operation("sgl_kernel")
def scaled_fp4_experts_quant(
    output: Tensor,
    output_scale: Tensor,
    input: Tensor,
    input_global_scale: Tensor,
    input_offset_by_experts: Tensor,
    output_scale_offset_by_experts: Tensor,
) -> None:
    """Four scales to an int32; nothing is written to the padding."""
    rows, columns = input.shape
    assert output.dtype == torch.uint8 and output.shape == (rows, columns // 2)
    assert output_scale.dtype == torch.int32 and output_scale.shape[1] == -(-columns // 64)
    assert input_offset_by_experts.dtype == output_scale_offset_by_experts.dtype == torch.int32
    written = output_scale.view(torch.uint8)
    bounds, tiles = input_offset_by_experts.tolist(), output_scale_offset_by_experts.tolist()
    for expert, whole in enumerate(input_global_scale.tolist()):
        mine = slice(bounds[expert], bounds[expert + 1])
        if mine.start == mine.stop:
            continue
        codes, scales = nvfp4.rounded(input[mine], whole)
        output[mine] = codes
        assert tiles[expert] % 128 == 0 and tiles[expert + 1] - tiles[expert] >= mine.stop - mine.start
        # As the kernel counts: from where the expert's scales begin, as if it were alone.
        flat = written[tiles[expert] :].view(-1)
        flat[nvfp4.offsets(len(codes), scales.shape[1], written.shape[1])] = scales.view(torch.uint8)


@_HERE.function("sgl_kernel", "sgl_kernel/moe.py")
def cutlass_fp4_group_mm(
    a_fp4: Tensor,
    b_fp4: Tensor,
    a_blockscale: Tensor,
    b_blockscale: Tensor,
    alphas: Tensor,
    out_dtype: torch.dtype,
    device: Any,
    params: dict[str, Any],
) -> Tensor:
    experts, n, packed = b_fp4.shape
    assert a_blockscale.dim() == 2 and b_blockscale.shape[:2] == (experts, -(-n // 128) * 128)
    assert {params[name].dtype for name in ("ab_strides", "c_strides")} == {torch.int64}
    assert params["ab_strides"].tolist() == [2 * packed] * experts and params["c_strides"].tolist() == [n] * experts
    offsets = ("expert_offsets", "blockscale_offsets")
    assert all(params[name].shape == (experts,) and params[name].dtype == torch.int32 for name in offsets)
    out = torch.empty((len(a_fp4), n), dtype=out_dtype, device=device)
    for expert, (rows, columns, depth) in enumerate(params["problem_sizes"].tolist()):
        assert (columns, depth) == (n, 2 * packed)
        begin, tile = (int(params[name][expert]) for name in offsets)
        if rows:
            some = a_fp4[begin : begin + rows], a_blockscale[tile:]
            out[begin : begin + rows] = nvfp4.product(*some, b_fp4[expert], b_blockscale[expert]) * alphas[expert]
    return out
