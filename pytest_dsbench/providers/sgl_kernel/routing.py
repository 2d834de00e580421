"""Mixture of experts: the routers of models, what grouped products start from, and the way back."""

from typing import TYPE_CHECKING

from ...operators.moe_fused_gate import MoeFusedGate
from ...operators.prepare_moe_input import PrepareMoeInput
from ...operators.shuffle_mul_sum import ShuffleMulSum
from ...operators.topk_sigmoid import TopkSigmoid
from ...operators.topk_softmax import TopkSoftmax
from ...provider import Launch
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@TopkSoftmax.provider("sgl_kernel", needs=NEEDS)
def _topk_softmax(op: TopkSoftmax, gating_output: "Tensor", correction_bias: "Tensor | None" = None) -> Launch:
    from sgl_kernel import topk_softmax

    weights, ids = _chosen(op, gating_output)

    def launch() -> tuple["Tensor", "Tensor"]:
        topk_softmax(weights, ids, gating_output, op.renormalize, correction_bias=correction_bias)
        return weights, ids

    return launch


@TopkSigmoid.provider("sgl_kernel", needs=NEEDS)
def _topk_sigmoid(op: TopkSigmoid, gating_output: "Tensor", correction_bias: "Tensor | None" = None) -> Launch:
    from sgl_kernel import topk_sigmoid

    weights, ids = _chosen(op, gating_output)

    def launch() -> tuple["Tensor", "Tensor"]:
        topk_sigmoid(weights, ids, gating_output, op.renormalize, correction_bias)
        return weights, ids

    return launch


def _chosen(op: TopkSoftmax | TopkSigmoid, logits: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Room for topk_weights and topk_ids."""
    import torch

    shape = (op.tokens, op.top_k)
    return logits.new_empty(shape, dtype=torch.float32), logits.new_empty(shape, dtype=torch.int32)


@MoeFusedGate.provider("sgl_kernel", needs=NEEDS)
def _moe_fused_gate(op: MoeFusedGate, gating_output: "Tensor", correction_bias: "Tensor") -> Launch:
    """It allocates what it returns; without its last argument it would not multiply by `scaling`."""
    from sgl_kernel import moe_fused_gate

    return lambda: moe_fused_gate(
        gating_output,
        correction_bias,
        op.groups,
        op.kept_groups,
        op.top_k,
        routed_scaling_factor=op.scaling,
        apply_routed_scaling_factor_on_output=True,
    )


@PrepareMoeInput.provider("sgl_kernel", needs=NEEDS)
def _prepare_moe_input(op: PrepareMoeInput, topk_ids: "Tensor") -> Launch:
    """It looks at no shape: buffers that are too short would be written past. Its n is `intermediate`, its k `hidden`."""
    from sgl_kernel import prepare_moe_input

    offsets, tiled = topk_ids.new_empty(op.experts + 1), topk_ids.new_empty(op.experts + 1)
    sizes1, sizes2 = topk_ids.new_empty((op.experts, 3)), topk_ids.new_empty((op.experts, 3))
    tokens, rows = topk_ids.new_empty(topk_ids.numel()), topk_ids.new_empty(topk_ids.numel())

    def launch() -> tuple["Tensor", ...]:
        prepare_moe_input(
            topk_ids, offsets, sizes1, sizes2, tokens, rows, op.experts, op.intermediate, op.hidden, blockscale_offsets=tiled
        )
        return offsets, sizes1, sizes2, tokens, rows, tiled

    return launch


@ShuffleMulSum.provider("sgl_kernel", needs=NEEDS)
def _shuffle_mul_sum(op: ShuffleMulSum, expert_outputs: "Tensor", permutation: "Tensor", factors: "Tensor") -> Launch:
    from sgl_kernel import apply_shuffle_mul_sum

    out = expert_outputs.new_empty((op.tokens, op.hidden))

    def launch() -> "Tensor":
        apply_shuffle_mul_sum(expert_outputs, out, permutation, factors)
        return out

    return launch
