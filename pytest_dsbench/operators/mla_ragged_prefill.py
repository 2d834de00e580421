"""mla_ragged_prefill: attention within each sequence of a batch, keys wider than values, as DeepSeek's prefill has it."""

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal

from ..operator import Dim, Inputs, Lengths, New, Operator, Spec, Tolerance
from ..units import matrix_unit, nbytes
from ..work import Work
from ._attention import attend, rounding, row_flaw, scores

if TYPE_CHECKING:
    from torch import Tensor


class MlaRaggedPrefill(Operator):
    """out = softmax(query key^T / sqrt(nope_dim + rope_dim)) value within each sequence and head.

    query [sum of q_lens, heads, nope_dim + rope_dim], key [sum of kv_lens, heads, nope_dim + rope_dim], value [sum of kv_lens,
    heads, v_dim], out [sum of q_lens, heads, v_dim]; cu_seqlens_q, cu_seqlens_kv int32 [sequences + 1], where each begins.
    Where `causal`, the queries are the last tokens of their sequence: query i sees keys 0 to kv_len - q_len + i.
    """

    heads: Dim
    #: queries of each sequence
    q_lens: Lengths
    #: keys of each sequence; as many as queries where not given
    kv_lens: tuple[Dim, ...] = ()
    #: columns of queries and keys that are not rotated
    nope_dim: Dim = 128
    #: columns of queries and keys that are
    rope_dim: Dim = 64
    v_dim: Dim = 128
    causal: bool = True
    dtype: Literal["bf16", "fp16"] = "bf16"

    category = "attention"
    fuzz = {
        "heads": (1, 8),
        "_sequences": (1, 4),
        "_chunk": (1, 160),
        "_context": (0, 160),
        "q_lens": "= [_chunk] * _sequences",
        # Chunks of prefills after a context, or whole ones.
        "_chunks": [0, 1],
        "kv_lens": "= [_context + _chunk] * (_chunks * _sequences)",
    }
    # A channel 1000 times the others makes scores of a million, of which rounding alone decides the softmax.
    edges = ("zeros",)

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Beside what `flaw` finds."""
        return {"out": rounding(self.dtype, bf16=8e-3)}

    @property
    def width(self) -> int:
        """Columns of queries and keys."""
        return self.nope_dim + self.rope_dim

    @property
    def batch(self) -> int:
        """Sequences."""
        return len(self.q_lens)

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

    @property
    def key_bounds(self) -> tuple[int, ...]:
        """The same of the keys."""
        return tuple(accumulate(self.keys, initial=0))

    def contradiction(self) -> str | None:
        if len(self.keys) != len(self.q_lens):
            return f"kv_lens has {len(self.keys)} items and q_lens {len(self.q_lens)}; expected one for each sequence"
        for queries, keys in zip(self.q_lens, self.keys, strict=True):
            if self.causal and keys < queries:
                return f"a sequence of {keys} keys has {queries} queries; where causal, every query is one of its tokens"
        return None

    def work(self) -> Work:
        """Read queries, keys, values and bounds, write out; 2 FLOP per head, key that a query sees, and column of both."""
        pairs = scores(self.q_lens, self.keys, self.causal)
        return Work(
            read=nbytes(self.dtype, self.heads * ((self.tokens + sum(self.keys)) * self.width + sum(self.keys) * self.v_dim))
            + nbytes("int32", 2 * (self.batch + 1)),
            written=nbytes(self.dtype, self.tokens * self.heads * self.v_dim),
            flop={matrix_unit(self.dtype): 2 * self.heads * pairs * (self.width + self.v_dim)},
        )

    def inputs(self, new: New) -> Inputs:
        return {
            "query": new.normal((self.tokens, self.heads, self.width), self.dtype),
            "key": new.normal((sum(self.keys), self.heads, self.width), self.dtype),
            "value": new.normal((sum(self.keys), self.heads, self.v_dim), self.dtype),
            "cu_seqlens_q": new.values(self.bounds, "int32"),
            "cu_seqlens_kv": new.values(self.key_bounds, "int32"),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.heads, self.v_dim), dtype=self.dtype)}

    def reference(
        self, query: "Tensor", key: "Tensor", value: "Tensor", cu_seqlens_q: "Tensor", cu_seqlens_kv: "Tensor"
    ) -> "Tensor":
        """In fp32, sequence by sequence."""
        import torch

        out = torch.empty((*query.shape[:2], self.v_dim), dtype=torch.float32, device=query.device)
        for queries, keys in self.parts():
            out[queries] = attend(query[queries], key[keys], value[keys], self.causal)
        return out

    def parts(self) -> list[tuple[slice, slice]]:
        """The rows of the queries and of the keys of each sequence."""
        rows = [[slice(first, last) for first, last in pairwise(bounds)] for bounds in (self.bounds, self.key_bounds)]
        return list(zip(*rows, strict=True))

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Element by element, on the scale of each token's own output."""
        return row_flaw(got["out"], want["out"])
