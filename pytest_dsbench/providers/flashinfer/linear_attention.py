"""Gated linear attention."""

from typing import TYPE_CHECKING

from ...operators.gated_delta_rule_update import GatedDeltaRuleUpdate
from ...provider import Launch
from .._case import capability, only
from . import NEEDS

if TYPE_CHECKING:
    from torch import Tensor


@GatedDeltaRuleUpdate.provider("flashinfer", needs=NEEDS, inplace=("initial_state",))
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
    """Its kernel for states of this layout knows no pool: a launch gathers the states before it and scatters them after it."""
    from flashinfer.gdn_decode import gated_delta_rule_decode

    only(capability(q)[0] == 9, "flashinfer's gated_delta_rule_decode runs on compute capability 9.0")
    only(op.dtype == "bf16", f"flashinfer's gated_delta_rule_decode gives bf16, not {op.dtype}")
    only(op.tokens == 1, f"flashinfer's gated_delta_rule_decode takes one step, not {op.tokens}")
    only(
        op.key_dim == 128 and op.value_dim >= 128 and op.value_dim % 32 == 0,
        f"flashinfer's gated_delta_rule_decode is made for states of 128 x 128, not {op.key_dim} x {op.value_dim}",
    )
    out = v.new_empty(v.shape)

    def launch() -> tuple["Tensor", "Tensor"]:
        state = initial_state.index_select(0, initial_state_indices)
        gated_delta_rule_decode(q, k, v, state, a_log, a, dt_bias, b, output=out)
        return out, initial_state.index_put_((initial_state_indices,), state)

    return launch
