"""Laws that the work of every operator obeys, at drawn shapes: it grows with every size, and batches add up."""

from typing import Any

import pytest

pytest.importorskip("hypothesis", reason="hypothesis draws the shapes")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_dsbench.fuzz import shapes
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators import everything

OURS = [cls for cls in everything().values() if cls.__module__.startswith("pytest_dsbench.")]
#: Dimensions that are no sizes, or that only say how what there is to do is divided or laid out, by operator.
NEUTRAL: dict[str, tuple[str, ...]] = {
    "block_scaled_mm": ("group_n", "group_k"),
    "chunk_delta_rule_output": ("chunk",),
    "chunk_gated_delta_rule_state": ("chunk", "states"),
    "concat_mla_k": ("v_dim",),
    "fp4_block_scale_moe": ("groups", "kept_groups", "scaling"),
    "fp8_blockscale_fused_moe": ("group",),
    "fused_qkv_rope": ("base", "rope_dim"),
    "gated_delta_rule_update": ("states",),
    "mla_rope_quantize_fp8": ("max_positions", "quant_scale_q", "quant_scale_kv"),
    "moe_align_block_size": ("block_size",),
    "moe_fused_gate": ("kept_groups", "scaling"),
    "moe_sum_reduce": ("scale",),
    "mrope": ("head_dim",),
    "paged_attention_decode": ("page_size",),
    "paged_mla_decode": ("page_size", "nope_dim"),
    "per_token_group_quant_fp8": ("group",),
    "prepare_moe_input": ("hidden", "intermediate"),
    "reshape_and_cache": ("page_size",),
    "rope_inplace": ("max_positions",),
    "topk_filter": ("top_k",),
    "unified_attention": ("page_size",),
}
#: Sizes that cost something only from some point on: a single token meets no more experts where there are more of them.
AT_TIMES = {(name, "experts") for name in ("fused_moe", "fp8_blockscale_fused_moe", "moe_align_block_size")}
#: The dimension along which independent things are put together; a list is joined.
BATCH = {
    "attention_forward": "seq_lens",
    "block_scaled_mm": "m",
    "bmm_fp8": "batch",
    "chunk_delta_rule_output": "batch",
    "chunk_gated_delta_rule_state": "batch",
    "gated_delta_rule_update": "batch",
    "gated_rms_norm": "rows",
    "matmul": "m",
    "mla_decode_attention": "kv_lens",
    "mla_ragged_prefill": "q_lens",
    "paged_attention_decode": "kv_lens",
    "paged_mla_decode": "kv_lens",
    "scaled_fp4_mm": "m",
    "unified_attention": "q_lens",
}
#: Two batches may meet the same experts, whose weights move once, and fill their blocks better together.
ROUTED = ("fused_moe", "fp4_block_scale_moe", "fp4_group_mm", "fp8_blockscale_fused_moe", "moe_align_block_size")

each = pytest.mark.parametrize("operator", OURS, ids=lambda cls: cls.name)
quick = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)


def changed(op: Operator, **dims: Any) -> Operator | None:
    """The same shape but for some dimensions, or None where that is no shape."""
    try:
        return type(op).build({name: getattr(op, name) for name in op.__struct_fields__} | dims)
    except Mistake:
        return None


def doubled(value: Any) -> Any:
    return tuple(2 * one for one in value) if isinstance(value, tuple) else 2 * value


@each
def test_work_grows_with_every_size(operator: type[Operator]) -> None:
    """Doubling a size, or every length of a ragged batch, makes more to do and less of nothing."""
    skip = ("eps", *NEUTRAL.get(operator.name, ()))
    sizes = [name for name in operator.__struct_fields__ if name not in skip]
    met: set[str] = set()

    @given(shapes(operator), st.sampled_from(sizes))
    @quick
    def check(op: Operator, name: str) -> None:
        value = getattr(op, name)
        if isinstance(value, (str, bool)) or value == () or (name, value) == ("features", 1):
            return  # a single feature is broadcast over the row: two of them are another operation
        larger = changed(op, **{name: doubled(value)})
        if larger is None:
            return
        met.add(name)
        before, after = op.work(), larger.work()
        assert after.bytes >= before.bytes and after.flops >= before.flops
        if (operator.name, name) not in AT_TIMES:
            assert after.bytes > before.bytes or after.flops > before.flops, f"{name} costs nothing"

    check()
    assert met


@each
def test_batches_add_up(operator: type[Operator]) -> None:
    """Two batches together need what they need alone, less what both share, such as weights: the same for any two."""
    name = BATCH.get(operator.name, "tokens")

    @given(shapes(operator), shapes(operator))
    @quick
    def check(op: Operator, other: Operator) -> None:
        first, second = getattr(op, name), getattr(other, name)
        parts = [changed(op, **{name: value}) for value in (first, second, first + second, first + first)]
        if None in parts:
            return
        one, another, both, twice = (part.work() for part in parts if part is not None)
        shared = one.flops + another.flops - both.flops
        assert shared == 2 * one.flops - twice.flops and 0 <= shared <= min(one.flops, another.flops)
        if operator.name in ROUTED:
            return
        shared = one.bytes + another.bytes - both.bytes
        assert shared == 2 * one.bytes - twice.bytes and 0 <= shared <= min(one.bytes, another.bytes)

    check()
