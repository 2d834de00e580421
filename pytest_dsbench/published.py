"""The work that the published list of shapes bills for its own rows, where that is not ours: for its scores and for comparison.

Source: Atrex-Bench (see NOTICE). It bills all FLOP to the matrix unit of the operator's dtype, and draws the routing of its MoE
rows at random once: what was drawn is part of the published figures and stands here. docs/operators.md says what differs and why.
"""

from collections.abc import Callable
from typing import Any

from .operator import Operator
from .shapes import Case
from .units import matrix_unit
from .work import Work

#: Launch floor of the published device in seconds: below this its production times measure launches. Source: as above.
FLOOR = 8e-6
#: Chunk of the delta rule, page of the caches, and spare pages of the decode cache, all as published.
_CHUNK, _PAGE, _SPARE = 64, 16, 16
#: Distinct (token, expert) pairs that the published draw of fused_moe made, by row: ids were drawn with replacement.
_PAIRS = (
    *(246, 524, 1264, 1924, 3724, 7871, 14389, 29596, 8, 18651, 32637, 63793, 123047, 199534, 357673),
    *(4054, 7947, 15916, 30658, 63732, 7699, 15324, 28841),
)
#: Blocks that the published draw of moe_align_block_size filled, by row.
_BLOCKS = {0: 8, 2: 128, 3: 128, 4: 186, 5: 292, 6: 573}


def work(case: Case) -> Work:
    """The published work of a published row: ours, unless the publication's differs."""
    assert case.provenance.id is not None, f"{case.where} is no published row"
    count = _DIFFERENT.get(case.op.name)
    return count(case.op, case.provenance.id) if count else case.op.work()


def _ceil(size: int, block: int) -> int:
    return -(-size // block)


def _block_scaled_mm(op: Any, _: int) -> Work:
    flop = 2 * op.m * op.n * op.k + 3 * op.m * op.n * op.k // op.group_k - op.m * op.n
    return op.work().replace(flop={"fp8": flop})  # type: ignore[no-any-return]


def _chunk_delta_rule_output(op: Any, _: int) -> Work:
    per_head = 2 * op.key_dim * op.value_dim + 2 * _CHUNK * (op.key_dim + op.value_dim) + 3 * op.value_dim + 2 * _CHUNK
    return _vector_too(op, _ceil(op.tokens, _CHUNK) * op.v_heads * _CHUNK * per_head)


def _chunk_gated_delta_rule_state(op: Any, _: int) -> Work:
    state = op.key_dim * op.value_dim
    per_head = op.tokens * (4 * state + 2 * op.value_dim + 1) + 2 * _ceil(op.tokens, _CHUNK) * state
    return _vector_too(op, op.v_heads * per_head)


def _experts_met(op: Any) -> float:
    """Experts that a row of distinct ids is expected to leave with a token."""
    return float(op.experts * (1 - (1 - op.top_k / op.experts) ** op.tokens))


def _fp8_blockscale_fused_moe(op: Any, _: int) -> Work:
    hidden, wide, routed = op.hidden, op.intermediate, op.tokens * op.top_k
    met = -int(-_experts_met(op) // 1)
    weights = met * (3 * hidden * wide + 12 * hidden * wide // op.group**2)
    return Work(
        read=op.tokens * (hidden + 4 * hidden // op.group) + 8 * routed + weights,
        written=op.tokens * hidden,
        flop={"fp8": routed * (6 * hidden * wide + 5 * wide + 2 * hidden) + 3 * met * hidden * wide},
    )


def _fused_moe(op: Any, row: int) -> Work:
    hidden, wide, tokens = op.hidden, op.intermediate, op.tokens
    met = round(_experts_met(op))
    return Work(
        read=2 * tokens * hidden + 8 * tokens * op.top_k + 6 * met * hidden * wide,
        written=4 * tokens * hidden,
        flop={"bf16": _PAIRS[row] * (6 * hidden * wide + 5 * wide + hidden) + met * tokens * (2 * op.top_k - 1)},
    )


def _fused_qk_rmsnorm(op: Any, _: int) -> Work:
    values = op.tokens * (op.q_heads + 2 * op.kv_heads) * op.head_dim
    return op.work().replace(read=2 * values + 4 * op.head_dim, written=2 * values)  # type: ignore[no-any-return]


def _gated_delta_rule_update(op: Any, _: int) -> Work:
    heads, state, tokens = op.v_heads, op.key_dim * op.value_dim, op.tokens
    pool = 4 * op.states * heads * state
    out = 2 * tokens * heads * op.value_dim
    return Work(
        read=6 * heads + 4 * tokens * heads + 4 * tokens * op.q_heads * op.key_dim + out + pool + 4,
        written=out + pool,
        flop={"bf16": tokens * heads * (7 * state + 3 * op.key_dim + 2)},
    )


def _mla_decode_attention(op: Any, _: int) -> Work:
    rank, wide = op.kv_lora_rank, op.kv_lora_rank + op.rope_dim
    keys = sum(op.kv_lens)
    scaled = wide * op.heads * (keys + len(op.kv_lens))
    return op.work().replace(flop={"bf16": 2 * op.heads * keys * (wide + rank) + scaled})  # type: ignore[no-any-return]


def _moe_align_block_size(op: Any, row: int) -> Work:
    blocks = _BLOCKS[row]
    return Work(read=4 * op.tokens * op.top_k, written=4 * blocks * (op.block_size + 1) + 4)


def _mrope(op: Any, _: int) -> Work:
    # All three axes of every angle, of which a frequency uses one.
    rotated = 2 * sum(op.sections)
    values = 2 * op.tokens * (op.q_heads + op.kv_heads) * op.head_dim
    return op.work().replace(read=values + 12 * op.tokens * rotated, written=values)  # type: ignore[no-any-return]


def _paged_attention_decode(op: Any, _: int) -> Work:
    sequences = len(op.kv_lens)
    pages = sum(_ceil(length, _PAGE) for length in op.kv_lens)
    query = 2 * sequences * op.q_heads * op.head_dim
    pool = 4 * (pages + _SPARE) * op.kv_heads * op.head_dim * _PAGE
    flop = 4 * op.q_heads * sum(op.kv_lens) * op.head_dim + 2 * sum(op.kv_lens)
    return Work(read=query + pool + 4 * pages + 4 * sequences, written=query, flop={matrix_unit(op.dtype): flop})


def _reshape_and_cache(op: Any, _: int) -> Work:
    values = op.heads * op.head_dim
    caches = 4 * _ceil(op.tokens, _PAGE) * _PAGE * values
    return Work(read=4 * op.tokens * values + caches + 8 * op.tokens, written=caches)


def _vector_too(op: Operator, flop: int) -> Work:
    """Our bytes, and all FLOP on the matrix unit."""
    return op.work().replace(flop={"bf16": flop})


_DIFFERENT: dict[str, Callable[[Any, int], Work]] = {
    "block_scaled_mm": _block_scaled_mm,
    "chunk_delta_rule_output": _chunk_delta_rule_output,
    "chunk_gated_delta_rule_state": _chunk_gated_delta_rule_state,
    "fp8_blockscale_fused_moe": _fp8_blockscale_fused_moe,
    "fused_moe": _fused_moe,
    "fused_qk_rmsnorm": _fused_qk_rmsnorm,
    "gated_delta_rule_update": _gated_delta_rule_update,
    "mla_decode_attention": _mla_decode_attention,
    "moe_align_block_size": _moe_align_block_size,
    "mrope": _mrope,
    "paged_attention_decode": _paged_attention_decode,
    "reshape_and_cache": _reshape_and_cache,
}
