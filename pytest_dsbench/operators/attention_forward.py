"""attention_forward: attention without a mask over ragged sequences, as in the vision encoders of multimodal models."""

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Ragged, Spec, Tolerance
from ..units import FloatDtype, matrix_unit, nbytes
from ..work import Work

if TYPE_CHECKING:
    from torch import Tensor

#: Scores held at a time by the reference; with their exponentials they take 256 MiB in fp32.
_CHUNK = 2**25


class AttentionForward(Operator):
    """out = softmax(q k^T / sqrt(head_dim)) v within each sequence, for each head, every query seeing every key.

    q, k, v, out [sum of seq_lens, heads, head_dim]; cu_seqlens_q, cu_seqlens_k int32 [sequences + 1], where each one begins.
    """

    heads: Dim
    head_dim: Dim
    seq_lens: Ragged
    dtype: FloatDtype = "bf16"

    category = "attention"
    tolerance = {"out": Tolerance(rtol=2**-6, rms=2**-6, rel_l2=8e-3)}
    fuzz = {"heads": (1, 6), "seq_lens": (0, 160)}
    # A channel 1000 times the others makes scores of a million, of which rounding alone decides the softmax.
    edges = ("zeros",)

    @property
    def tokens(self) -> int:
        """Tokens of all sequences together."""
        return sum(self.seq_lens)

    @property
    def bounds(self) -> tuple[int, ...]:
        """Where each sequence begins, and where the last one ends."""
        return tuple(accumulate(self.seq_lens, initial=0))

    def contradiction(self) -> str | None:
        return None if self.tokens else f"seq_lens = {list(self.seq_lens)} holds no token"

    def work(self) -> Work:
        """Read q, k, v and the bounds, write out; two products of L x L x D per head and sequence: 4 sum(L^2) H D."""
        tensor = self.tokens * nbytes(self.dtype, self.heads * self.head_dim)
        return Work(
            read=3 * tensor + 2 * nbytes("int32", len(self.seq_lens) + 1),
            written=tensor,
            flop={matrix_unit(self.dtype): 4 * sum(length**2 for length in self.seq_lens) * self.heads * self.head_dim},
        )

    def inputs(self, new: New) -> Inputs:
        shape = (self.tokens, self.heads, self.head_dim)
        return {
            "q": new.normal(shape, self.dtype),
            "k": new.normal(shape, self.dtype),
            "v": new.normal(shape, self.dtype),
            "cu_seqlens_q": new.values(self.bounds, "int32"),
            "cu_seqlens_k": new.values(self.bounds, "int32"),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.heads, self.head_dim), dtype=self.dtype)}

    def reference(
        self,
        q: "Tensor",
        k: "Tensor",
        v: "Tensor",
        cu_seqlens_q: "Tensor",
        cu_seqlens_k: "Tensor",
    ) -> "Tensor":
        """In fp32, by the formula: products and a softmax over whole rows of scores, nothing fused or rescaled."""
        import torch

        out = torch.empty(q.shape, dtype=torch.float32, device=q.device)
        for first, last in pairwise(self.bounds):
            keys = k[first:last].float().permute(1, 2, 0)
            values = v[first:last].float().transpose(0, 1)
            step = max(1, _CHUNK // (self.heads * max(last - first, 1)))
            for start in range(first, last, step):
                some = slice(start, min(start + step, last))
                queries = q[some].float().transpose(0, 1) * self.head_dim**-0.5
                out[some] = ((queries @ keys).softmax(-1) @ values).transpose(0, 1)
        return out
