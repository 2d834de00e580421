"""paged_attention_decode: attention of one new token per sequence over a paged cache, in either of two layouts."""

from typing import TYPE_CHECKING, Literal

from ..operator import Dim, Inputs, Lengths, New, Operator, Spec, Tolerance
from ..units import FloatDtype, matrix_unit, nbytes
from ..work import Work
from ._attention import attend, rounding, row_flaw
from ._paged import block_table, dense, filled, pool, used

if TYPE_CHECKING:
    from torch import Tensor


class PagedAttentionDecode(Operator):
    """out = softmax(query k^T / sqrt(head_dim)) v over all keys of each sequence, query heads sharing heads of the cache.

    query, out [sequences, q_heads, head_dim]; block_tables int32 [sequences, most pages]; seq_lens int32 [sequences]. Layout
    nhd: k_cache, v_cache [pages, page_size, kv_heads, head_dim]. Layout packed: k_cache [pages, kv_heads, head_dim / x,
    page_size, x] with x elements in 16 bytes, v_cache [pages, kv_heads, head_dim, page_size].
    """

    q_heads: Dim
    kv_heads: Dim
    head_dim: Dim
    #: keys of each sequence
    kv_lens: Lengths
    page_size: Dim = 16
    layout: Literal["packed", "nhd"] = "packed"
    dtype: FloatDtype = "bf16"

    category = "attention"
    fuzz = {
        "kv_heads": (1, 4),
        "_group": (1, 8),
        "q_heads": "= _group * kv_heads",
        "_eights": (1, 32),
        "head_dim": "= 8 * _eights",
        "kv_lens": (1, 300),
        "page_size": [16, 32, 64, 1],
    }
    # A channel 1000 times the others makes scores of a million, of which rounding alone decides the softmax.
    edges = ("zeros",)

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Beside what `flaw` finds."""
        return {"out": rounding(self.dtype, bf16=8e-3)}

    @property
    def packed(self) -> int:
        """Elements of a key that lie side by side in the packed layout: 16 bytes."""
        return 16 // nbytes(self.dtype, 1)

    def contradiction(self) -> str | None:
        if self.q_heads % self.kv_heads:
            return f"q_heads = {self.q_heads} is no multiple of kv_heads = {self.kv_heads}"
        if self.layout == "packed" and self.head_dim % self.packed:
            return (
                f"head_dim = {self.head_dim} is no multiple of the {self.packed} elements that the packed layout keeps together"
            )
        return None

    def work(self) -> Work:
        """Read query, the keys and values of each sequence, pages and lengths, write out; 4 D FLOP per query head and key."""
        tensor = len(self.kv_lens) * nbytes(self.dtype, self.q_heads * self.head_dim)
        indices = used(self.kv_lens, self.page_size) + len(self.kv_lens)
        return Work(
            read=tensor + 2 * sum(self.kv_lens) * nbytes(self.dtype, self.kv_heads * self.head_dim) + nbytes("int32", indices),
            written=tensor,
            flop={matrix_unit(self.dtype): 4 * sum(self.kv_lens) * self.q_heads * self.head_dim},
        )

    def inputs(self, new: New) -> Inputs:
        pages, heads, x = pool(self.kv_lens, self.page_size), self.kv_heads, self.packed
        keys = values = (pages, self.page_size, heads, self.head_dim)
        if self.layout == "packed":
            values = (pages, heads, self.head_dim, self.page_size)
        packed = (pages, heads, self.head_dim // x, self.page_size, x)
        return {
            "query": new.normal((len(self.kv_lens), self.q_heads, self.head_dim), self.dtype),
            "k_cache": new.normal(packed if self.layout == "packed" else keys, self.dtype),
            "v_cache": new.normal(values, self.dtype),
            "block_tables": block_table(new, self.kv_lens, self.page_size),
            "seq_lens": new.values(self.kv_lens, "int32"),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(len(self.kv_lens), self.q_heads, self.head_dim), dtype=self.dtype)}

    def reference(
        self, query: "Tensor", k_cache: "Tensor", v_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor"
    ) -> "Tensor":
        """In fp32, sequence by sequence, from keys and values gathered by its pages."""
        import torch

        out = torch.empty(query.shape, dtype=torch.float32, device=query.device)
        if self.layout == "packed":
            # Views in the layout that keeps the heads of a token together.
            k_cache, v_cache = k_cache.permute(0, 3, 1, 2, 4), v_cache.permute(0, 3, 1, 2)
        for number, length in enumerate(self.kv_lens):
            pages = block_tables[number, : filled(length, self.page_size)]
            keys, values = dense(k_cache, pages, length), dense(v_cache, pages, length)
            out[number] = attend(query[number, None], keys.reshape(values.shape), values)[0]
        return out

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Element by element, on the scale of each token's own output."""
        return row_flaw(got["out"], want["out"])
