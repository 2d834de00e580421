"""liger_kernel: forward passes that also return what a backward pass needs."""

# ruff: noqa: N803

from typing import Any

import torch
from torch import Tensor

from . import Library, numerics

_HERE = Library(("liger_kernel",))
_OPS = "liger_kernel/ops/"


@_HERE.function("liger_kernel.ops.rms_norm", f"{_OPS}rms_norm.py")
def rms_norm_forward(X: Tensor, W: Tensor, eps: float, offset: float, casting_mode: str, row_mode: Any) -> tuple[Any, ...]:
    assert offset == 0 and casting_mode == "gemma" and row_mode is None
    return numerics.rms(X, W, eps).to(X.dtype), X, None, 1, 1, casting_mode


@_HERE.function("liger_kernel.ops.fused_add_rms_norm", f"{_OPS}fused_add_rms_norm.py")
def fused_add_rms_norm_forward(X: Tensor, R: Tensor, W: Tensor, eps: float, offset: float, casting_mode: str) -> tuple[Any, ...]:
    assert offset == 0 and casting_mode == "gemma"
    total = X + R
    return numerics.rms(total, W, eps).to(X.dtype), total, None, 1, 1, casting_mode


@_HERE.function("liger_kernel.ops.layer_norm", f"{_OPS}layer_norm.py")
def layer_norm_forward(X: Tensor, W: Tensor, B: Tensor, eps: float) -> tuple[Any, ...]:
    return numerics.layer(X, W, B, eps).to(X.dtype), X, None, None, 1, 1


@_HERE.function("liger_kernel.ops.qwen2vl_mrope", f"{_OPS}qwen2vl_mrope.py")
def qwen2vl_mrope_forward(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, mrope_section: Any) -> tuple[Any, ...]:
    """q and k [batch, heads, tokens, head_dim], written where they lie if tokens come before heads in memory."""
    time, height = mrope_section[0], mrope_section[0] + mrope_section[1]
    assert cos.shape == sin.shape == (3, len(q), q.shape[2], q.shape[3])
    turned = []
    for x in (q, k):
        physical = x.transpose(1, 2).contiguous()
        for batch, rows in enumerate(physical):
            axes = [
                torch.cat([t[0, batch, :, :time], t[1, batch, :, time:height], t[2, batch, :, height : x.shape[3] // 2]], -1)
                for t in (cos, sin)
            ]
            rows.copy_(numerics.rotated(rows, *axes))
        turned.append(physical.transpose(1, 2))
    return *turned, cos, sin


@_HERE.methods("liger_kernel.ops.fused_moe", f"{_OPS}fused_moe.py", apply=("forward",))
class LigerFusedMoEFunction:
    @staticmethod
    def apply(x: Tensor, gate_up_proj: Tensor, down_proj: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        assert top_k_index.dtype == torch.int32
        return numerics.experts(x, gate_up_proj, down_proj, top_k_weights, top_k_index)


@_HERE.function("liger_kernel.ops.fused_moe", f"{_OPS}fused_moe.py")
def compute_routing_metadata(topk_indices: Tensor, E: int) -> tuple[Any, ...]:
    order, owners = numerics.aligned(topk_indices, E, 1)
    sorted_ids = torch.tensor(order, dtype=torch.int32)
    counts = torch.tensor(owners).bincount(minlength=E).int()
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0).int()])
    inverse = torch.empty_like(sorted_ids)
    inverse[sorted_ids.long()] = torch.arange(len(order), dtype=torch.int32)
    return counts, starts, sorted_ids // topk_indices.shape[1], sorted_ids, inverse, starts, starts
