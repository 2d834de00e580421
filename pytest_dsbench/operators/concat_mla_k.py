"""concat_mla_k: the keys of DeepSeek's prefill, put together from what is each head's own and what all heads share."""

from typing import TYPE_CHECKING, Literal

from ..operator import Dim, Inputs, New, Operator, Spec
from ..units import nbytes
from ..work import Work

if TYPE_CHECKING:
    from torch import Tensor


class ConcatMlaK(Operator):
    """k = kv[..., :nope_dim] | k_rope, the latter in every head.

    kv [tokens, heads, nope_dim + v_dim], as a projection of the latent cache gives keys and values side by side; k_rope
    [tokens, 1, rope_dim]; k [tokens, heads, nope_dim + rope_dim].
    """

    tokens: Dim
    heads: Dim = 128
    nope_dim: Dim = 128
    rope_dim: Dim = 64
    #: columns of kv that are passed over
    v_dim: Dim = 128
    dtype: Literal["bf16", "fp16"] = "bf16"

    category = "copy"
    fuzz = {"heads": (1, 16), "nope_dim": (1, 130), "rope_dim": (1, 70), "v_dim": (1, 130)}

    @property
    def width(self) -> int:
        """Columns of a key."""
        return self.nope_dim + self.rope_dim

    def work(self) -> Work:
        """Read each head's own columns and the shared ones once, not the values; write k."""
        return Work(
            read=nbytes(self.dtype, self.tokens * (self.heads * self.nope_dim + self.rope_dim)),
            written=nbytes(self.dtype, self.tokens * self.heads * self.width),
        )

    def inputs(self, new: New) -> Inputs:
        return {
            "kv": new.normal((self.tokens, self.heads, self.nope_dim + self.v_dim), self.dtype),
            "k_rope": new.normal((self.tokens, 1, self.rope_dim), self.dtype),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"k": Spec(shape=(self.tokens, self.heads, self.width), dtype=self.dtype)}

    def reference(self, kv: "Tensor", k_rope: "Tensor") -> "Tensor":
        """A copy: nothing is computed, so nothing is rounded."""
        import torch

        return torch.cat([kv[..., : self.nope_dim], k_rope.expand(-1, self.heads, -1)], -1)
