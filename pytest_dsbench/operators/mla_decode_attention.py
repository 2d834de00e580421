"""mla_decode_attention: one new token per sequence over a latent cache, as in DeepSeek's multi-head latent attention."""

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, Lengths, New, Operator, Spec, Tolerance
from ..units import FloatDtype, matrix_unit, nbytes
from ..work import Work
from ._attention import attend, rounding, row_flaw

if TYPE_CHECKING:
    from torch import Tensor


class MlaDecodeAttention(Operator):
    """out = softmax(q c^T / sqrt(kv_lora_rank + rope_dim)) c[:, :kv_lora_rank] over the cache c that all heads share.

    q [sequences, heads, kv_lora_rank + rope_dim], out [sequences, heads, kv_lora_rank]; kv_cache [sum of kv_lens, 1,
    kv_lora_rank + rope_dim], one sequence after the other; seq_lens int32 [sequences].
    """

    heads: Dim
    #: keys of each sequence
    kv_lens: Lengths
    #: columns that are both key and value
    kv_lora_rank: Dim = 512
    #: columns of the key alone
    rope_dim: Dim = 64
    dtype: FloatDtype = "bf16"

    category = "attention"
    fuzz = {"heads": (1, 128), "kv_lens": (1, 300)}
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
    def bounds(self) -> tuple[int, ...]:
        """Where each sequence begins in the cache, and where the last one ends."""
        return tuple(accumulate(self.kv_lens, initial=0))

    def work(self) -> Work:
        """Read q, the cache once and the lengths, write out; 2 FLOP per head, key and column of the key and of the value."""
        sequences, keys = len(self.kv_lens), sum(self.kv_lens)
        return Work(
            read=nbytes(self.dtype, (sequences * self.heads + keys) * self.width) + nbytes("int32", sequences),
            written=nbytes(self.dtype, sequences * self.heads * self.kv_lora_rank),
            flop={matrix_unit(self.dtype): 2 * self.heads * keys * (self.width + self.kv_lora_rank)},
        )

    def inputs(self, new: New) -> Inputs:
        return {
            "q": new.normal((len(self.kv_lens), self.heads, self.width), self.dtype),
            "kv_cache": new.normal((sum(self.kv_lens), 1, self.width), self.dtype),
            "seq_lens": new.values(self.kv_lens, "int32"),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(len(self.kv_lens), self.heads, self.kv_lora_rank), dtype=self.dtype)}

    def reference(self, q: "Tensor", kv_cache: "Tensor", seq_lens: "Tensor") -> "Tensor":
        """In fp32, sequence by sequence."""
        import torch

        out = torch.empty((*q.shape[:2], self.kv_lora_rank), dtype=torch.float32, device=q.device)
        for number, (first, last) in enumerate(pairwise(self.bounds)):
            latent = kv_cache[first:last]
            out[number] = attend(q[number, None], latent, latent[..., : self.kv_lora_rank])[0]
        return out

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Element by element, on the scale of each token's own output."""
        return row_flaw(got["out"], want["out"])
