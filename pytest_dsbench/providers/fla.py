"""fla: Triton kernels of flash-linear-attention, from fla-core. They allocate what they return."""

from typing import TYPE_CHECKING

from ..operators.causal_conv1d import CausalConv1d
from ..operators.chunk_delta_rule_output import ChunkDeltaRuleOutput
from ..operators.chunk_gated_delta_rule_state import ChunkGatedDeltaRuleState
from ..operators.fused_add_rms_norm import FusedAddRmsNorm
from ..operators.gated_delta_rule_update import GatedDeltaRuleUpdate
from ..operators.gated_rms_norm import GatedRmsNorm
from ..operators.l2_norm import L2Norm
from ..operators.layer_norm import LayerNorm
from ..operators.rms_norm import RmsNorm
from ..provider import Launch
from ._case import chunked

if TYPE_CHECKING:
    from torch import Tensor

_NEEDS = ("fla-core", "torch")
#: fla's chunked kernels raise 2, not e, to the power of their gates.
_LOG2_E = 1.4426950408889634


@RmsNorm.provider("fla", needs=_NEEDS)
def _rms_norm(op: RmsNorm, x: "Tensor", weight: "Tensor") -> Launch:
    from fla.modules.norm.layernorm import rms_norm

    return lambda: rms_norm(x, weight, None, eps=op.eps)


@FusedAddRmsNorm.provider("fla", needs=_NEEDS)
def _fused_add_rms_norm(op: FusedAddRmsNorm, x: "Tensor", residual: "Tensor", weight: "Tensor") -> Launch:
    from fla.modules.norm.layernorm import rms_norm

    return lambda: rms_norm(x, weight, None, residual=residual, eps=op.eps, prenorm=True)


@LayerNorm.provider("fla", needs=_NEEDS)
def _layer_norm(op: LayerNorm, x: "Tensor", weight: "Tensor", bias: "Tensor") -> Launch:
    from fla.modules.norm.layernorm import layer_norm

    return lambda: layer_norm(x, weight, bias, eps=op.eps)


@GatedRmsNorm.provider("fla", needs=_NEEDS)
def _gated_rms_norm(op: GatedRmsNorm, x: "Tensor", z: "Tensor", weight: "Tensor") -> Launch:
    from fla.modules.norm.fused_norm_gate import rms_norm_gated

    return lambda: rms_norm_gated(x, z, weight, None, activation="swish", eps=op.eps)


@L2Norm.provider("fla", needs=_NEEDS)
def _l2_norm(op: L2Norm, x: "Tensor") -> Launch:
    from fla.modules.norm.l2norm import l2norm

    return lambda: l2norm(x, eps=op.eps)


@CausalConv1d.provider("fla", needs=_NEEDS)
def _causal_conv1d(op: CausalConv1d, x: "Tensor", weight: "Tensor", bias: "Tensor", initial_state: "Tensor") -> Launch:
    """fla works token by token: x goes in as a strided view, which it reads as it is, and the output is a view of its own.

    Its state holds as many inputs as the filter is wide, the first of which it never reads: a launch copies ours behind it.
    """
    from fla.modules.causal_conv1d import causal_conv1d

    state = initial_state.new_zeros((1, op.channels, op.width))
    inputs, held = x.T[None], state[..., 1:]

    def launch() -> "Tensor":
        held.copy_(initial_state)
        out: Tensor
        out, _ = causal_conv1d(inputs, weight, bias, initial_state=state, activation="silu")
        return out[0].T

    return launch


@GatedDeltaRuleUpdate.provider("fla", needs=_NEEDS, inplace=("initial_state",))
def _gated_delta_rule_update(
    op: GatedDeltaRuleUpdate,
    a_log: "Tensor",
    dt_bias: "Tensor",
    a: "Tensor",
    b: "Tensor",
    q: "Tensor",
    k: "Tensor",
    v: "Tensor",
    initial_state: "Tensor",
    initial_state_indices: "Tensor",
) -> Launch:
    """fla knows no pool: a launch gathers the states of its sequences before the kernel and scatters them after it."""
    from fla.ops.gated_delta_rule import fused_recurrent_gated_delta_rule

    def launch() -> tuple["Tensor", "Tensor"]:
        out, final = fused_recurrent_gated_delta_rule(
            q,
            k,
            v,
            g=a,
            beta=b,
            initial_state=initial_state.index_select(0, initial_state_indices),
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
            use_gate_in_kernel=True,
            A_log=a_log,
            dt_bias=dt_bias,
            use_beta_sigmoid_in_kernel=True,
        )
        return out, initial_state.index_put_((initial_state_indices,), final)

    return launch


@ChunkGatedDeltaRuleState.provider("fla", needs=_NEEDS, inplace=("initial_state",))
def _chunk_gated_delta_rule_state(
    op: ChunkGatedDeltaRuleState,
    k: "Tensor",
    w: "Tensor",
    u: "Tensor",
    g: "Tensor",
    initial_state: "Tensor",
    initial_state_indices: "Tensor",
) -> Launch:
    """A launch turns the natural logarithms of g into binary ones, an elementwise kernel, and gathers and scatters the states."""
    from fla.ops.common.chunk_delta_h import chunk_gated_delta_rule_fwd_h

    chunked("fla", op.chunk, op.key_dim)
    binary = g.new_empty(g.shape)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        h, v_new, final = chunk_gated_delta_rule_fwd_h(
            k,
            w,
            u,
            g=_binary(g, binary),
            initial_state=initial_state.index_select(0, initial_state_indices),
            output_final_state=True,
            chunk_size=op.chunk,
        )
        return h, v_new, initial_state.index_put_((initial_state_indices,), final)

    return launch


@ChunkDeltaRuleOutput.provider("fla", needs=_NEEDS)
def _chunk_delta_rule_output(op: ChunkDeltaRuleOutput, q: "Tensor", k: "Tensor", v: "Tensor", h: "Tensor", g: "Tensor") -> Launch:
    """A launch turns the natural logarithms of g into binary ones, an elementwise kernel."""
    from fla.ops.common.chunk_o import chunk_fwd_o

    chunked("fla", op.chunk, op.key_dim)
    binary = g.new_empty(g.shape)
    return lambda: chunk_fwd_o(q, k, v, h, g=_binary(g, binary), chunk_size=op.chunk)


def _binary(g: "Tensor", out: "Tensor") -> "Tensor":
    """Natural logarithms as binary ones."""
    import torch

    return torch.mul(g, _LOG2_E, out=out)
