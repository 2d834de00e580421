"""NVFP4: torch multiplies no such codes by itself, so operands are widened, inside the launch."""

from itertools import pairwise
from typing import TYPE_CHECKING

from ...operators._deepseek_routing import grouped_topk
from ...operators._nvfp4 import linear, quantise, widened
from ...operators._nvfp4_experts import grouped_scales, owners, row_scales
from ...operators.fp4_block_scale_moe import Fp4BlockScaleMoe, activated
from ...operators.fp4_group_mm import Fp4GroupMm
from ...operators.scaled_fp4_experts_quant import ScaledFp4ExpertsQuant
from ...operators.scaled_fp4_mm import ScaledFp4Mm
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def _wide(x: "Tensor", out_dtype: str) -> "torch.dtype":
    """The dtype that widened operands are multiplied in: bf16 holds them exactly, but its products too are rounded to it.

    That is too coarse for outputs in fp16; and a CPU multiplies fp32 no slower.
    """
    import torch

    return torch.bfloat16 if x.is_cuda and out_dtype == "bf16" else torch.float32


@native(ScaledFp4Mm)
def _scaled_fp4_mm(op: ScaledFp4Mm, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor", alpha: "Tensor") -> Launch:
    """Both operands are widened at every launch: four times their bytes in bf16, and then one product."""
    from ...tensors import torch_dtype

    wide, out_dtype = _wide(a, op.out_dtype), torch_dtype(op.out_dtype)

    def launch() -> "Tensor":
        left = widened(a, linear(a_scales, op.m, op.k)).to(wide)
        right = widened(b, linear(b_scales, op.n, op.k)).to(wide)
        return ((left @ right.T) * alpha).to(out_dtype)

    return launch


@native(ScaledFp4ExpertsQuant)
def _scaled_fp4_experts_quant(
    op: ScaledFp4ExpertsQuant,
    input: "Tensor",  # noqa: A002
    input_global_scale: "Tensor",
    expert_offsets: "Tensor",
    blockscale_offsets: "Tensor",
) -> Launch:
    total = op.outputs()["scales"].shape[0]

    def launch() -> tuple["Tensor", "Tensor"]:
        whole = input_global_scale[owners(op.rows, expert_offsets), None]
        codes, scales = quantise(input, whole)
        return codes, grouped_scales(scales, total, expert_offsets, blockscale_offsets)

    return launch


@native(Fp4GroupMm, compiles=False)
def _fp4_group_mm(
    op: Fp4GroupMm,
    a: "Tensor",
    b: "Tensor",
    a_scales: "Tensor",
    b_scales: "Tensor",
    alphas: "Tensor",
    problem_sizes: "Tensor",
    expert_offsets: "Tensor",
    blockscale_offsets: "Tensor",
) -> Launch:
    """Expert by expert, those without rows left out; the host waits for the offsets."""
    from ...tensors import torch_dtype

    wide, out_dtype = _wide(a, op.out_dtype), torch_dtype(op.out_dtype)

    def launch() -> "Tensor":
        left = widened(a, row_scales(a_scales, op.rows, op.k, expert_offsets, blockscale_offsets)).to(wide)
        out = a.new_empty((op.rows, op.n), dtype=out_dtype)
        for expert, (begin, end) in enumerate(pairwise(expert_offsets.tolist())):
            if begin < end:
                right = widened(b[expert], linear(b_scales[expert], op.n, op.k)).to(wide)
                out[begin:end] = (left[begin:end] @ right.T) * alphas[expert]
        return out

    return launch


@native(Fp4BlockScaleMoe, compiles=False)
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
    """Expert by expert, those without tokens left out; the host waits for the routing."""
    import torch

    wide = _wide(hidden_states, "bf16")

    def launch() -> "Tensor":
        weights, ids = grouped_topk(routing_logits, routing_bias, op.groups, op.kept_groups, op.top_k, op.scaling)
        x = widened(hidden_states, hidden_states_scale).to(wide)
        out = torch.zeros((op.tokens, op.hidden), dtype=torch.float32, device=x.device)
        for expert in sorted(set(ids.flatten().tolist())):
            tokens, slots = (ids == expert).nonzero(as_tuple=True)
            gate_up = widened(gemm1_weights[expert], gemm1_weights_scale[expert]).to(wide)
            gate, up = (x[tokens] @ gate_up.T).chunk(2, -1)
            act = activated(gate, up, output1_scale_gate_scalar[expert], output1_scale_scalar[expert])
            down = widened(gemm2_weights[expert], gemm2_weights_scale[expert]).to(wide)
            given = widened(*quantise(act, 1.0)).to(wide) @ down.T
            out.index_add_(0, tokens, given * (weights[tokens, slots, None] * output2_scale_scalar[expert]))
        return out.bfloat16()

    return launch
