"""Attention over a paged cache, and writing one."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from ...operators._paged import filled
from ...operators.paged_attention_decode import PagedAttentionDecode
from ...operators.reshape_and_cache import ReshapeAndCache
from ...operators.unified_attention import UnifiedAttention
from ...provider import Launch
from . import native

if TYPE_CHECKING:
    from torch import Tensor

#: Elements of keys that are gathered at a time: a GPU wants large batches, up to 1 GiB in bf16 here; a CPU wants them while they
#: are still in its cache.
_MOST_GATHERED = {"cuda": 2**29, "cpu": 2**22}


class _Part(NamedTuple):
    """Sequences of equal lengths, which make one dense batch."""

    #: their rows of the block table
    sequences: "slice | Tensor"
    #: their rows of the queries, one sequence after the other
    rows: "slice | Tensor"
    queries: int
    keys: int
    pages: int


def _parts(lengths: Iterable[tuple[int, int]], page_size: int, row: int, near: "Tensor") -> Iterator[_Part]:
    """The sequences by equal lengths (queries, keys); a token of the cache has `row` elements.

    Sequences that follow each other are a slice, for which the queries need not be copied; others are indices beside `near`.
    """
    import torch

    pairs = list(lengths)
    starts = list(accumulate((queries for queries, _ in pairs), initial=0))
    alike: dict[tuple[int, int], list[int]] = {}
    for number, pair in enumerate(pairs):
        if not pair[0]:
            continue
        alike.setdefault(pair, []).append(number)
    for (queries, keys), numbers in alike.items():
        pages = filled(keys, page_size)
        most = max(1, _MOST_GATHERED[near.device.type] // (pages * page_size * row))
        for some in (numbers[first : first + most] for first in range(0, len(numbers), most)):
            if some[-1] - some[0] + 1 == len(some):
                yield _Part(slice(some[0], some[-1] + 1), slice(starts[some[0]], starts[some[-1] + 1]), queries, keys, pages)
                continue
            sequences = torch.tensor(some, device=near.device)
            first = torch.tensor([starts[number] for number in some], device=near.device)
            rows = (first[:, None] + torch.arange(queries, device=near.device)).flatten()
            yield _Part(sequences, rows, queries, keys, pages)


def _after_context(queries: int, keys: int, near: "Tensor") -> "Tensor":
    """The causal mask of the last `queries` of a sequence of `keys` tokens, aligned to the bottom right.

    On CUDA a bias that keeps the fused kernel, where a tensor of a mask would not; it can be made under no dispatch mode, such
    as the one that watches a provider.
    """
    import torch
    from torch.nn.attention.bias import causal_lower_right
    from torch.utils._python_dispatch import _disable_current_modes

    if not near.is_cuda:
        return torch.ones((queries, keys), dtype=torch.bool, device=near.device).tril(keys - queries)
    with _disable_current_modes():
        bias: Tensor = causal_lower_right(queries, keys)
    return bias


def _attend(q: "Tensor", k: "Tensor", v: "Tensor", causal: bool = False, mask: "Tensor | None" = None) -> "Tensor":
    """q [sequences, queries, q_heads, head_dim] over k, v [sequences, kv_heads, keys, head_dim]; shaped as q,
    with the columns of v."""
    from torch.nn.functional import scaled_dot_product_attention

    sequences, queries, q_heads, head_dim = q.shape
    if queries == 1:
        # All heads that share keys as so many queries: the keys are then read once.
        shared = q.view(sequences, k.shape[1], -1, head_dim)
        return scaled_dot_product_attention(shared, k, v).reshape(*q.shape[:-1], v.shape[-1])
    out = scaled_dot_product_attention(
        q.transpose(1, 2), k, v, attn_mask=mask, is_causal=causal and mask is None, enable_gqa=q_heads > k.shape[1]
    )
    return out.transpose(1, 2)


def _gathered(cache: "Tensor", pages: "Tensor", length: int) -> "Tensor":
    """[sequences, kv_heads, length, head_dim]: cache [pages, page_size, kv_heads, head_dim], pages [sequences, pages]."""
    found = cache.index_select(0, pages.flatten())
    return found.view(len(pages), -1, *cache.shape[2:])[:, :length].transpose(1, 2)


@native(UnifiedAttention)
def _unified_attention(
    op: UnifiedAttention,
    q: "Tensor",
    k_cache: "Tensor",
    v_cache: "Tensor",
    cu_seqlens_q: "Tensor",
    kv_lens: "Tensor",
    block_table: "Tensor",
) -> Launch:
    import torch

    # The lengths are known here, so bounds and lengths are not read back; which pages a sequence has is.
    parts = list(_parts(zip(op.q_lens, op.keys, strict=True), op.page_size, op.kv_heads * op.head_dim, q))
    later = {(part.queries, part.keys) for part in parts if op.causal and 1 < part.queries < part.keys}
    masks = {pair: _after_context(*pair, q) for pair in later}

    def launch() -> "Tensor":
        out = torch.empty_like(q)
        for part in parts:
            pages = block_table[part.sequences, : part.pages]
            keys, values = _gathered(k_cache, pages, part.keys), _gathered(v_cache, pages, part.keys)
            queries = q[part.rows].view(len(pages), part.queries, op.q_heads, op.head_dim)
            mask = masks.get((part.queries, part.keys))
            out[part.rows] = _attend(queries, keys, values, op.causal, mask).flatten(0, 1)
        return out

    return launch


@native(PagedAttentionDecode)
def _paged_attention_decode(
    op: PagedAttentionDecode, query: "Tensor", k_cache: "Tensor", v_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
) -> Launch:
    import torch

    parts = list(_parts(((1, length) for length in op.kv_lens), op.page_size, op.kv_heads * op.head_dim, query))

    def unpacked(cache: "Tensor", pages: "Tensor", length: int) -> "Tensor":
        """As from `_gathered`, of a cache [pages, kv_heads, head_dim / x, page_size, x]."""
        found = cache.index_select(0, pages.flatten()).view(*pages.shape, *cache.shape[1:])
        # Tokens of a page before the elements of a head: [sequences, kv_heads, pages, page_size, head_dim / x, x].
        return found.permute(0, 2, 1, 4, 3, 5).reshape(len(pages), op.kv_heads, -1, op.head_dim)[:, :, :length]

    gathered = unpacked if op.layout == "packed" else _gathered
    # A value's elements lie apart in the packed layout: x is 1.
    v_cache = v_cache.unsqueeze(-1) if op.layout == "packed" else v_cache

    def launch() -> "Tensor":
        out = torch.empty_like(query)
        for part in parts:
            pages = block_tables[part.sequences, : part.pages]
            keys, values = gathered(k_cache, pages, part.keys), gathered(v_cache, pages, part.keys)
            out[part.rows] = _attend(query[part.rows].unsqueeze(1), keys, values).squeeze(1)
        return out

    return launch


@native(ReshapeAndCache, inplace=("key_cache", "value_cache"))
def _reshape_and_cache(
    op: ReshapeAndCache, key: "Tensor", value: "Tensor", key_cache: "Tensor", value_cache: "Tensor", slot_mapping: "Tensor"
) -> Launch:
    def launch() -> tuple["Tensor", "Tensor"]:
        key_cache.view(-1, op.heads, op.head_dim).index_copy_(0, slot_mapping, key)
        value_cache.view(-1, op.heads, op.head_dim).index_copy_(0, slot_mapping, value)
        return key_cache, value_cache

    return launch
