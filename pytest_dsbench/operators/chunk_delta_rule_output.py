"""chunk_delta_rule_output: the parallel half of chunked gated linear attention, from the states at each chunk to its outputs."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, matrix_unit, nbytes
from ..work import Work
from ._delta_rule import chunks, cumulative_decay

if TYPE_CHECKING:
    from torch import Tensor


class ChunkDeltaRuleOutput(Operator):
    """out = (exp(g) (q h) + A v) / sqrt(key_dim) within each chunk of tokens, for every value head.

    A[i, j] = (q_i . k_j) exp(g_i - g_j), rounded to the dtype, for j <= i and g_i <= g_j, otherwise 0.

    q, k [batch, tokens, q_heads, key_dim], v, out [batch, tokens, v_heads, value_dim], h [batch, chunks, v_heads, key_dim,
    value_dim], the state before each chunk, g fp32 [batch, tokens, v_heads], the cumulative log decay within the chunk.
    Neighbouring value heads share a query head.
    """

    batch: Dim = 1
    #: of each sequence; the last chunk may be short
    tokens: Dim
    q_heads: Dim
    v_heads: Dim
    key_dim: Dim = 128
    value_dim: Dim = 128
    chunk: Dim = 64
    dtype: FloatDtype = "bf16"

    category = "linear_attention"
    tolerance = {"out": Tolerance(rtol=2**-7, rms=3e-2, rel_l2=1e-2)}
    # A channel of q and k 1000 times the others makes A a million times as large, and what cancels leaves its rounding.
    edges = ("zeros",)
    fuzz = {
        "batch": (1, 3),
        "tokens": (1, 300),
        "q_heads": (1, 3),
        "v_heads": "= q_heads * _ratio",
        "_ratio": (1, 3),
        "key_dim": (1, 130),
        # Few columns may cancel all at once, and a tolerance relative to them is then none.
        "value_dim": (16, 130),
        "chunk": [64, 32],
    }

    @property
    def chunks(self) -> int:
        """Chunks of each sequence."""
        return -(-self.tokens // self.chunk)

    def contradiction(self) -> str | None:
        if self.v_heads % self.q_heads:
            return f"v_heads = {self.v_heads} is no multiple of q_heads = {self.q_heads}"
        return None

    def work(self) -> Work:
        """Read all, write out; q h, and for the pairs of tokens that see each other q k per query head and A v per value head."""
        steps = self.batch * self.tokens
        values = nbytes(self.dtype, steps * self.v_heads * self.value_dim)
        state = self.v_heads * self.key_dim * self.value_dim
        whole, rest = divmod(self.tokens, self.chunk)
        pairs = self.batch * (whole * self.chunk * (self.chunk + 1) + rest * (rest + 1)) // 2
        products = 2 * steps * state + 2 * pairs * (self.q_heads * self.key_dim + self.v_heads * self.value_dim)
        return Work(
            read=nbytes(self.dtype, 2 * steps * self.q_heads * self.key_dim + self.batch * self.chunks * state)
            + values
            + nbytes("fp32", steps * self.v_heads),
            written=values,
            flop={matrix_unit(self.dtype): products},
        )

    def inputs(self, new: New) -> Inputs:
        """Queries and keys of length one, so that what comes from the state and what comes from the chunk are alike in size."""
        keys = (self.batch, self.tokens, self.q_heads, self.key_dim)
        return {
            "q": new.normal(keys, self.dtype, std=self.key_dim**-0.5),
            "k": new.normal(keys, self.dtype, std=self.key_dim**-0.5),
            "v": new.normal((self.batch, self.tokens, self.v_heads, self.value_dim), self.dtype),
            "h": new.normal((self.batch, self.chunks, self.v_heads, self.key_dim, self.value_dim), self.dtype, std=0.5),
            "g": cumulative_decay(new, self.batch, self.tokens, self.v_heads, self.chunk),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.batch, self.tokens, self.v_heads, self.value_dim), dtype=self.dtype)}

    def reference(self, q: "Tensor", k: "Tensor", v: "Tensor", h: "Tensor", g: "Tensor") -> "Tensor":
        """In fp32, a chunk at a time; only A is rounded."""
        import torch

        ratio = self.v_heads // self.q_heads
        out = torch.empty(v.shape, dtype=torch.float32, device=v.device)
        for number, some in enumerate(chunks(self.tokens, self.chunk)):
            # Heads before tokens: [batch, heads, tokens of the chunk, key_dim or value_dim].
            query, key, value = (x[:, some].float().transpose(1, 2) for x in (q, k, v))
            left = g[:, some].transpose(1, 2)
            fade = left[..., :, None] - left[..., None, :]
            seen = torch.ones(fade.shape[-2:], dtype=torch.bool, device=v.device).tril() & (fade <= 0)
            scores = (query @ key.transpose(-1, -2)).repeat_interleave(ratio, 1)
            weights = (scores * fade.masked_fill(~seen, -torch.inf).exp()).to(v.dtype).float()
            carried = query.repeat_interleave(ratio, 1) @ h[:, number].float()
            out[:, some] = (left.exp()[..., None] * carried + weights @ value).transpose(1, 2) * self.key_dim**-0.5
        return out
