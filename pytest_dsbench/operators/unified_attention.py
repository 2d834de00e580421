"""unified_attention: causal attention over a paged cache, one batch of prefills, chunks of prefills and decodes."""

from itertools import accumulate
from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Ragged, Spec, Tolerance
from ..units import FloatDtype, matrix_unit, nbytes
from ..work import Work
from ._attention import attend, rounding, row_flaw, scores
from ._paged import block_table, dense, filled, pool, used

if TYPE_CHECKING:
    from torch import Tensor


class UnifiedAttention(Operator):
    """out = softmax(q k^T / sqrt(head_dim)) v within each sequence, q_heads / kv_heads query heads sharing a head of the cache.

    The queries of a sequence are its last tokens: of q_len queries and kv_len keys, query i sees keys 0 to kv_len - q_len + i.

    q, out [sum of q_lens, q_heads, head_dim]; k_cache, v_cache [pages, page_size, kv_heads, head_dim]; cu_seqlens_q int32
    [sequences + 1], where the queries of each begin; kv_lens int32 [sequences]; block_table int32 [sequences, most pages].
    """

    q_heads: Dim
    kv_heads: Dim
    head_dim: Dim
    #: queries of each sequence: 1 in decode, 0 where it waits
    q_lens: Ragged
    #: keys of each sequence, those of its queries among them; as many as queries where not given
    kv_lens: tuple[Dim, ...] = ()
    page_size: Dim = 16
    causal: bool = True
    dtype: FloatDtype = "bf16"

    category = "attention"
    fuzz = {
        "kv_heads": (1, 4),
        "_group": (1, 8),
        "q_heads": "= _group * kv_heads",
        "page_size": [16, 32, 64, 1],
        # Chunks of prefills, of which some are the first one, and decodes.
        "_prefills": (0, 3),
        "_chunk": (1, 160),
        "_context": (0, 160),
        "_decodes": (0, 3),
        "_length": (1, 300),
        "_waiting": (0, 1),
        "q_lens": "= [_chunk] * _prefills + [0] * _waiting + [1] * _decodes",
        "kv_lens": "= [_context + _chunk] * _prefills + [_length] * (_waiting + _decodes)",
    }
    # A channel 1000 times the others makes scores of a million, of which rounding alone decides the softmax.
    edges = ("zeros",)

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Beside what `flaw` finds."""
        return {"out": rounding(self.dtype, bf16=8e-3)}

    @property
    def tokens(self) -> int:
        """Queries of all sequences together."""
        return sum(self.q_lens)

    @property
    def keys(self) -> tuple[int, ...]:
        """Keys of each sequence."""
        return self.kv_lens or self.q_lens

    @property
    def bounds(self) -> tuple[int, ...]:
        """Where the queries of each sequence begin, and where those of the last one end."""
        return tuple(accumulate(self.q_lens, initial=0))

    def contradiction(self) -> str | None:
        if self.q_heads % self.kv_heads:
            return f"q_heads = {self.q_heads} is no multiple of kv_heads = {self.kv_heads}"
        if len(self.keys) != len(self.q_lens):
            return f"kv_lens has {len(self.keys)} items and q_lens {len(self.q_lens)}; expected one for each sequence"
        if not self.tokens:
            return f"q_lens = {list(self.q_lens)} holds no query"
        for queries, keys in zip(self.q_lens, self.keys, strict=True):
            if keys < queries:
                return f"a sequence of {keys} keys has {queries} queries; every query is one of its sequence's tokens"
        return None

    def work(self) -> Work:
        """Read q, keys, values, bounds, lengths and pages, write out; two products: 4 D FLOP per query head and key it sees."""
        tensor = self.tokens * nbytes(self.dtype, self.q_heads * self.head_dim)
        seen = tuple(keys for queries, keys in zip(self.q_lens, self.keys, strict=True) if queries)
        pairs = scores(self.q_lens, self.keys, self.causal)
        indices = 2 * len(self.q_lens) + 1 + used(seen, self.page_size)
        return Work(
            read=tensor + 2 * sum(seen) * nbytes(self.dtype, self.kv_heads * self.head_dim) + nbytes("int32", indices),
            written=tensor,
            flop={matrix_unit(self.dtype): 4 * pairs * self.q_heads * self.head_dim},
        )

    def inputs(self, new: New) -> Inputs:
        cache = (pool(self.keys, self.page_size), self.page_size, self.kv_heads, self.head_dim)
        return {
            "q": new.normal((self.tokens, self.q_heads, self.head_dim), self.dtype),
            "k_cache": new.normal(cache, self.dtype),
            "v_cache": new.normal(cache, self.dtype),
            "cu_seqlens_q": new.values(self.bounds, "int32"),
            "kv_lens": new.values(self.keys, "int32"),
            "block_table": block_table(new, self.keys, self.page_size),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.q_heads, self.head_dim), dtype=self.dtype)}

    def reference(
        self,
        q: "Tensor",
        k_cache: "Tensor",
        v_cache: "Tensor",
        cu_seqlens_q: "Tensor",
        kv_lens: "Tensor",
        block_table: "Tensor",
    ) -> "Tensor":
        """In fp32, sequence by sequence, from keys and values gathered by its pages."""
        import torch

        out = torch.empty(q.shape, dtype=torch.float32, device=q.device)
        for number, (first, length) in enumerate(zip(self.bounds, self.keys, strict=False)):
            pages = block_table[number, : filled(length, self.page_size)]
            own = slice(first, first + self.q_lens[number])
            if not self.q_lens[number]:
                continue
            out[own] = attend(q[own], dense(k_cache, pages, length), dense(v_cache, pages, length), self.causal)
        return out

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Element by element, on the scale of each token's own output."""
        return row_flaw(got["out"], want["out"])
