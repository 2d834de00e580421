"""Grouped-query attention, as Qwen3 and Llama have it: the same kernels in decode and in prefill."""

from collections.abc import Iterator

from ...operators import find
from ..model.architecture import Architecture, Gqa
from ..precision import CACHE_BYTES
from .op import Op, Pass
from .products import linear

_PAGE = 16


def kv_heads(gqa: Gqa, tp: int) -> int:
    """Key and value heads on one GPU: where there are fewer than GPUs, some GPUs keep the same one."""
    return max(gqa.kv_heads // tp, 1)


def attention(model: Architecture, gqa: Gqa, given: Pass) -> Iterator[Op]:
    """From the layer's input to the output projection, on one of `given.tp` GPUs that share the heads."""
    tokens, dense, dim = given.together, given.precision.dense, gqa.head_dim
    heads, cached = model.heads // given.tp, kv_heads(gqa, given.tp)
    each = {"q_heads": heads, "kv_heads": cached, "head_dim": dim}
    norm = find("fused_add_rms_norm")(tokens=given.tokens, hidden=model.hidden)
    yield Op(name="input_layernorm", stage="attention_in", operator=norm)
    yield from linear("qkv_proj", "attention_in", tokens, (heads + 2 * cached) * dim, model.hidden, dense)
    if gqa.qk_norm:
        operator = find("fused_qk_rmsnorm")(tokens=tokens, dtype="bf16", **each)
        yield Op(name="qk_norm", stage="attention_in", operator=operator)
    turned = find("fused_qkv_rope")(tokens=tokens, rope_dim=dim, dtype="bf16", **each)
    yield Op(name="rotary_emb", stage="attention_in", operator=turned)
    write = find("reshape_and_cache")(tokens=tokens, heads=cached, head_dim=dim, page_size=_PAGE)
    yield Op(name="kv_cache", stage="attention_in", operator=write)
    sequences = given.sequences * given.tp
    spared = (2 - CACHE_BYTES[given.precision.cache]) * sequences * given.context * 2 * cached * dim
    yield Op(
        name="attn",
        stage="attention_out",
        operator=find("unified_attention")(
            q_lens=(given.queries,) * sequences, kv_lens=(given.context,) * sequences, page_size=_PAGE, **each
        ),
        # Parts of a sequence are put together by a second kernel in decode.
        launches=2 if given.decode else 1,
        scores=sequences * heads * (given.queries * given.context - given.queries * (given.queries - 1) // 2),
        key_share=0.5,
        spared=spared,
        note="the keys and values of the operator are bf16; they are counted as fp8" if spared else None,
    )
    yield from linear("o_proj", "attention_out", tokens, model.hidden, heads * dim, dense)
