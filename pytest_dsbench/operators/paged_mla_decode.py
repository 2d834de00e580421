"""paged_mla_decode: the last tokens of each sequence over a paged latent cache, queries absorbed, as DeepSeek decodes."""

from math import gcd
from typing import TYPE_CHECKING, Literal

from ..operator import Dim, Inputs, Lengths, New, Operator, Spec, Tolerance
from ..units import matrix_unit, nbytes
from ..work import Work
from ._attention import attend, rounding, row_flaw, scores
from ._paged import block_table, dense, filled, pool, used

if TYPE_CHECKING:
    from torch import Tensor

#: A row of the block table names pages for a multiple of this many keys: kernels read it a tile at a time.
_TILE = 128


class PagedMlaDecode(Operator):
    """out = softmax(query c^T / sqrt(nope_dim + rope_dim)) c[:, :kv_lora_rank] over the pages c that all heads share.

    query [sequences, q_len, heads, kv_lora_rank + rope_dim], its first columns multiplied with W_kc already; out [sequences,
    q_len, heads, kv_lora_rank]; kv_cache [pages, page_size, kv_lora_rank + rope_dim]; block_tables int32 [sequences, pages of
    a whole number of 128 keys]; seq_lens int32 [sequences]. The queries are the last tokens: query i sees kv_len - q_len + i + 1.
    """

    heads: Dim
    #: keys of each sequence, those of its queries among them
    kv_lens: Lengths
    #: queries of each sequence: more than 1 where tokens are guessed ahead
    q_len: Dim = 1
    page_size: Dim = 64
    #: columns that are both key and value
    kv_lora_rank: Dim = 512
    #: columns of the key alone
    rope_dim: Dim = 64
    #: columns that W_kc has turned into kv_lora_rank: the scale is that of the model, which knows of no absorption
    nope_dim: Dim = 128
    dtype: Literal["bf16", "fp16"] = "bf16"

    category = "attention"
    fuzz = {"heads": (1, 128), "q_len": [1, 2, 3], "kv_lens": (3, 300), "page_size": [64, 32, 128, 16]}
    # A channel 1000 times the others makes scores of a million, of which rounding alone decides the softmax.
    edges = ("zeros",)

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Beside what `flaw` finds."""
        return {"out": rounding(self.dtype, bf16=1e-2)}

    @property
    def width(self) -> int:
        """Columns of the cache."""
        return self.kv_lora_rank + self.rope_dim

    @property
    def scale(self) -> float:
        """Factor of the scores."""
        return float((self.nope_dim + self.rope_dim) ** -0.5)

    @property
    def batch(self) -> int:
        """Sequences."""
        return len(self.kv_lens)

    @property
    def tokens(self) -> int:
        """Queries of all sequences together."""
        return self.batch * self.q_len

    @property
    def max_kv_len(self) -> int:
        """Keys of the longest sequence."""
        return max(self.kv_lens)

    def contradiction(self) -> str | None:
        if min(self.kv_lens) < self.q_len:
            return f"a sequence of {min(self.kv_lens)} keys has q_len = {self.q_len} queries; they are among its tokens"
        return None

    def work(self) -> Work:
        """Read query, every key once for all heads, lengths and pages, write out; 2 FLOP per head, key that a query sees, and
        column of the key and of the value."""
        pairs = scores((self.q_len,) * self.batch, self.kv_lens, causal=True)
        rows = self.tokens * self.heads
        return Work(
            read=nbytes(self.dtype, (rows + sum(self.kv_lens)) * self.width)
            + nbytes("int32", self.batch + used(self.kv_lens, self.page_size)),
            written=nbytes(self.dtype, rows * self.kv_lora_rank),
            flop={matrix_unit(self.dtype): 2 * self.heads * pairs * (self.width + self.kv_lora_rank)},
        )

    def inputs(self, new: New) -> Inputs:
        whole = _TILE // gcd(_TILE, self.page_size)
        return {
            "query": new.normal((self.batch, self.q_len, self.heads, self.width), self.dtype),
            "kv_cache": new.normal((pool(self.kv_lens, self.page_size), self.page_size, self.width), self.dtype),
            "block_tables": block_table(new, self.kv_lens, self.page_size, multiple=whole),
            "seq_lens": new.values(self.kv_lens, "int32"),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.batch, self.q_len, self.heads, self.kv_lora_rank), dtype=self.dtype)}

    def reference(self, query: "Tensor", kv_cache: "Tensor", block_tables: "Tensor", seq_lens: "Tensor") -> "Tensor":
        """In fp32, sequence by sequence, from keys gathered by its pages."""
        import torch

        out = torch.empty((*query.shape[:3], self.kv_lora_rank), dtype=torch.float32, device=query.device)
        for number, length in enumerate(self.kv_lens):
            latent = dense(kv_cache, block_tables[number, : filled(length, self.page_size)], length)[:, None]
            out[number] = attend(query[number], latent, latent[..., : self.kv_lora_rank], causal=True, scale=self.scale)
        return out

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Element by element, on the scale of each token's own output."""
        return row_flaw(got["out"].flatten(0, 1), want["out"].flatten(0, 1))
