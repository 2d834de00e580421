"""Chunked gated linear attention: FlagGems's copies of fla's kernels, which raise e, not 2, to the power of their gates."""

from typing import TYPE_CHECKING

from ...operators.chunk_delta_rule_output import ChunkDeltaRuleOutput
from ...operators.chunk_gated_delta_rule_state import ChunkGatedDeltaRuleState
from ...provider import Launch
from .._case import chunked
from . import NEEDS, with_block_pointers

if TYPE_CHECKING:
    from torch import Tensor


@ChunkGatedDeltaRuleState.provider("flag_gems", needs=NEEDS, inplace=("initial_state",))
def _chunk_gated_delta_rule_state(
    op: ChunkGatedDeltaRuleState,
    k: "Tensor",
    w: "Tensor",
    u: "Tensor",
    g: "Tensor",
    initial_state: "Tensor",
    initial_state_indices: "Tensor",
) -> Launch:
    """It knows no pool: a launch gathers the states of its sequences before the kernel and scatters them after it."""
    from flag_gems.fused.FLA.chunk_delta_h import chunk_gated_delta_rule_fwd_h

    _chunked(op.chunk, op.key_dim)

    def launch() -> tuple["Tensor", "Tensor", "Tensor"]:
        h, v_new, final = chunk_gated_delta_rule_fwd_h(
            k,
            w,
            u,
            g=g,
            initial_state=initial_state.index_select(0, initial_state_indices),
            output_final_state=True,
            chunk_size=op.chunk,
        )
        return h, v_new, initial_state.index_put_((initial_state_indices,), final)

    return launch


@ChunkDeltaRuleOutput.provider("flag_gems", needs=NEEDS)
def _chunk_delta_rule_output(op: ChunkDeltaRuleOutput, q: "Tensor", k: "Tensor", v: "Tensor", h: "Tensor", g: "Tensor") -> Launch:
    from flag_gems.fused.FLA.chunk_o import chunk_fwd_o

    _chunked(op.chunk, op.key_dim)
    return lambda: chunk_fwd_o(q, k, v, h, g=g, chunk_size=op.chunk)


def _chunked(chunk: int, key_dim: int) -> None:
    chunked("flag_gems", chunk, key_dim)
    with_block_pointers("flag_gems's chunked delta rule")
