"""The attention of DeepSeek's models: latent, with absorbed projections in decode and expanded keys in prefill."""

from collections.abc import Iterator

from ...operators import find
from ..model.architecture import Architecture, Mla
from ..precision import CACHE_BYTES
from .op import Op, Pass
from .products import batched, linear

_PAGE = 64


def attention(model: Architecture, mla: Mla, given: Pass) -> Iterator[Op]:
    """From the layer's input to the output projection, on one of `given.tp` GPUs that share the heads."""
    tokens, heads, dense = given.together, model.heads // given.tp, given.precision.dense
    width = mla.kv_lora_rank + mla.rope_dim
    norm, rms = find("fused_add_rms_norm"), find("rms_norm")
    yield Op(name="input_layernorm", stage="attention_in", operator=norm(tokens=given.tokens, hidden=model.hidden))
    rank = mla.q_lora_rank
    if rank is None:
        yield from linear("q_proj", "attention_in", tokens, heads * (mla.nope_dim + mla.rope_dim), model.hidden, dense)
        yield from linear("kv_a_proj", "attention_in", tokens, width, model.hidden, dense)
    else:
        yield from linear("fused_qkv_a_proj", "attention_in", tokens, rank + width, model.hidden, dense)
        yield Op(name="q_a_layernorm", stage="attention_in", operator=rms(tokens=tokens, hidden=rank))
    yield Op(name="kv_a_layernorm", stage="attention_in", operator=rms(tokens=tokens, hidden=mla.kv_lora_rank))
    if rank is not None:
        yield from linear("q_b_proj", "attention_in", tokens, heads * (mla.nope_dim + mla.rope_dim), rank, dense)
    if given.decode:
        yield batched("q_nope*w_kc", "attention_in", heads, tokens, mla.kv_lora_rank, mla.nope_dim, dense)
    else:
        expanded = heads * (mla.nope_dim + mla.v_dim)
        yield from linear("kv_b_proj", "attention_in", tokens, expanded, mla.kv_lora_rank, dense)
    turned = find("rope_inplace")(tokens=tokens, q_heads=heads, head_dim=mla.rope_dim, max_positions=model.max_positions)
    yield Op(name="rotary_emb", stage="attention_in", operator=turned)
    yield Op(
        name="kv_cache",
        stage="attention_in",
        operator=find("reshape_and_cache")(tokens=tokens, heads=1, head_dim=width // 2, page_size=_PAGE),
        note=f"key and value of {width // 2} columns each stand for the latent's {width}",
    )
    yield from (_decode(mla, given, heads) if given.decode else _prefill(mla, given, heads))
    if given.decode:
        yield batched("attn_out*w_vc", "attention_out", heads, tokens, mla.v_dim, mla.kv_lora_rank, dense)
    yield from linear("o_proj", "attention_out", tokens, model.hidden, heads * mla.v_dim, dense)


def _decode(mla: Mla, given: Pass, heads: int) -> Iterator[Op]:
    width = mla.kv_lora_rank + mla.rope_dim
    sequences = given.sequences * given.tp
    operator = find("paged_mla_decode")(
        heads=heads,
        kv_lens=(given.context,) * sequences,
        q_len=given.queries,
        page_size=_PAGE,
        kv_lora_rank=mla.kv_lora_rank,
        rope_dim=mla.rope_dim,
        nope_dim=mla.nope_dim,
    )
    spared = (2 - CACHE_BYTES[given.precision.cache]) * sequences * given.context * width
    yield Op(
        name="attn_mqa",
        stage="attention_out",
        operator=operator,
        # The scheduler's metadata is made once per step; parts of a sequence are put together by a second kernel.
        launches=2,
        scores=sequences * heads * _pairs(given),
        key_share=width / (width + mla.kv_lora_rank),
        spared=spared,
        note="the keys of the operator are bf16; they are counted as fp8" if spared else None,
    )


def _prefill(mla: Mla, given: Pass, heads: int) -> Iterator[Op]:
    sequences = given.sequences * given.tp
    concat = find("concat_mla_k")(
        tokens=given.together, heads=heads, nope_dim=mla.nope_dim, rope_dim=mla.rope_dim, v_dim=mla.v_dim
    )
    yield Op(name="concat_k", stage="attention_in", operator=concat)
    yield Op(
        name="attn_mha",
        stage="attention_out",
        operator=find("mla_ragged_prefill")(
            heads=heads,
            q_lens=(given.queries,) * sequences,
            nope_dim=mla.nope_dim,
            rope_dim=mla.rope_dim,
            v_dim=mla.v_dim,
        ),
        scores=sequences * heads * _pairs(given),
        key_share=(mla.nope_dim + mla.rope_dim) / (mla.nope_dim + mla.rope_dim + mla.v_dim),
    )


def _pairs(given: Pass) -> int:
    """Pairs of query and key of one sequence and head: each query sees all keys up to its own."""
    return given.queries * given.context - given.queries * (given.queries - 1) // 2
