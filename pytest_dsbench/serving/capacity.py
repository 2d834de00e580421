"""Capacity: the bytes that weights, cache and activations take on one GPU.

Need = weights + cache + activations <= usable share x memory. docs/serving.md derives each term.
"""

from typing import Any

from ..record import Record
from .layer.gqa import kv_heads
from .layer.mlp import Split
from .model.architecture import Architecture, Mla
from .precision import CACHE_BYTES, WEIGHT_BYTES, Precision

#: A cache is given out in pages of so many tokens, of which the last of each sequence is half full.
_PAGE = 64


class Need(Record):
    """Bytes on one GPU."""

    weights: Any
    cache: Any
    activations: Any

    @property
    def total(self) -> Any:
        """All of them."""
        return self.weights + self.cache + self.activations


def need(
    model: Architecture,
    *,
    tp: int,
    split: Split | None,
    precision: Precision,
    mtp: int,
    batch: Any,
    context: float,
    tokens: Any,
    sampled: Any,
) -> Need:
    """`batch` sequences for each GPU with `context` tokens each; `tokens` of one micro-batch, `sampled` of them with logits."""
    layers = model.layers + (model.draft_layers if mtp else 0)
    pages = context + _PAGE / 2
    return Need(
        weights=weights(model, tp, split, precision, draft=mtp > 0),
        cache=batch * tp * pages * layers * cached(model, tp, precision),
        activations=_activations(model, tp, split, precision, tokens) + 4 * sampled * model.vocab,
    )


def cached(model: Architecture, tp: int, precision: Precision) -> int:
    """Bytes that one token of one layer keeps: the latent, whole on each GPU, or the keys and values of its heads."""
    kind = model.attention
    values = kind.kv_lora_rank + kind.rope_dim if isinstance(kind, Mla) else 2 * kv_heads(kind, tp) * kind.head_dim
    return values * CACHE_BYTES[precision.cache]


def weights(model: Architecture, tp: int, split: Split | None, precision: Precision, draft: bool = False) -> float:
    """Bytes of the weights on one GPU. Embedding, head and router are bf16."""
    dense = WEIGHT_BYTES[precision.dense]
    attention = attention_weights(model, tp) * dense
    total = model.layers * attention + model.dense_layers * 3 * model.hidden * model.intermediate / tp * dense
    layer = attention + 3 * model.hidden * model.intermediate / tp * dense
    if model.moe is not None and split is not None:
        moe = model.moe
        routed = split.local * 3 * model.hidden * moe.intermediate * WEIGHT_BYTES[precision.experts]
        each = routed + 3 * model.hidden * moe.shared * dense + 2 * model.hidden * moe.experts
        total += (model.layers - model.dense_layers) * each
        layer = attention + each
    total += (1 if model.tied else 2) * 2 * model.vocab * model.hidden / tp
    if draft:
        # It has the embedding and the head of the model.
        total += model.draft_layers * (layer + 2 * model.hidden**2 * dense)
    return total


def attention_weights(model: Architecture, tp: int) -> float:
    """Weights of the projections of one layer on one of `tp` GPUs; what leads into the latent is whole on each."""
    kind, hidden, heads = model.attention, model.hidden, model.heads / tp
    if not isinstance(kind, Mla):
        return hidden * kind.head_dim * (2 * heads + 2 * kv_heads(kind, tp))
    width = kind.nope_dim + kind.rope_dim
    query = hidden * kind.q_lora_rank + kind.q_lora_rank * heads * width if kind.q_lora_rank else hidden * heads * width
    latent = hidden * (kind.kv_lora_rank + kind.rope_dim) + kind.kv_lora_rank * heads * (kind.nope_dim + kind.v_dim)
    return query + latent + heads * kind.v_dim * hidden


def _activations(model: Architecture, tp: int, split: Split | None, precision: Precision, tokens: Any) -> Any:
    """Of one micro-batch: residual and normed rows, the widest pair of tensors between kernels, and both buffers of the experts.

    All bf16 but what is dispatched, and the fp32 logits, which `need` adds. Rows that arrive wait in a buffer, and their
    results in another.
    """
    kind = model.attention
    heads = model.heads / tp
    if isinstance(kind, Mla):
        wide = heads * (kind.kv_lora_rank + kind.rope_dim + kind.kv_lora_rank)
    else:
        wide = (2 * heads + 2 * kv_heads(kind, tp)) * kind.head_dim
    wide = max(wide, 3 * model.intermediate / tp if model.dense_layers else 0)
    found = tokens * 2 * (2 * model.hidden + wide * tp)
    if model.moe is not None and split is not None:
        rows = tokens * model.moe.top_k * split.ep * split.local / model.moe.experts * split.imbalance
        found = found + rows * (model.hidden * (precision.dispatch_bytes + 2) + 2 * 3 * model.moe.intermediate)
    return found
