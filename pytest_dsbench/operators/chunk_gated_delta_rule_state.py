"""chunk_gated_delta_rule_state: the serial half of chunked gated linear attention, which carries states from chunk to chunk."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, matrix_unit, nbytes
from ..work import Work
from ._delta_rule import chunks, cumulative_decay, pool_flaw

if TYPE_CHECKING:
    from torch import Tensor


class ChunkGatedDeltaRuleState(Operator):
    """For every chunk c of tokens and value head, with its state H [key_dim, value_dim] in fp32:

    h[c] = dtype(H); v_new = u - w h[c]; H = exp(g_last) H + k^T dtype(v_new exp(g_last - g)), g_last being that of the chunk's
    last token; where g_last > g the exponential is 0.

    k [batch, tokens, k_heads, key_dim], w [batch, tokens, v_heads, key_dim], u, v_new [batch, tokens, v_heads, value_dim],
    g fp32 [batch, tokens, v_heads], h [batch, chunks, v_heads, key_dim, value_dim], initial_state, final_state fp32
    [states, v_heads, key_dim, value_dim], initial_state_indices int32 [batch]: the row of the pool that holds a sequence's
    state. Neighbouring value heads share a key head.
    """

    batch: Dim = 1
    #: of each sequence; the last chunk may be short
    tokens: Dim
    k_heads: Dim
    v_heads: Dim
    key_dim: Dim = 128
    value_dim: Dim = 128
    #: rows of the pool, at least as many as sequences
    states: Dim
    chunk: Dim = 64
    dtype: FloatDtype = "bf16"

    category = "linear_attention"
    # What rounding does to the state adds up over the chunks.
    tolerance = {
        "h": Tolerance(rtol=2**-6, rms=6e-2, rel_l2=2e-2),
        "v_new": Tolerance(rtol=2**-7, rms=3e-2, rel_l2=1e-2),
        "final_state": Tolerance(rtol=2**-6, rms=6e-2, rel_l2=2e-2),
    }
    # A channel of w and k 1000 times the others makes a state a million times as large from chunk to chunk.
    edges = ("zeros",)
    fuzz = {
        "batch": (1, 3),
        "tokens": (1, 300),
        "k_heads": (1, 3),
        "v_heads": "= k_heads * _ratio",
        "_ratio": (1, 3),
        "key_dim": (1, 130),
        "value_dim": (16, 130),
        "states": "= batch + _spare",
        "_spare": (0, 3),
        "chunk": [64, 32],
    }

    @property
    def chunks(self) -> int:
        """Chunks of each sequence."""
        return -(-self.tokens // self.chunk)

    def contradiction(self) -> str | None:
        if self.v_heads % self.k_heads:
            return f"v_heads = {self.v_heads} is no multiple of k_heads = {self.k_heads}"
        if self.batch > self.states:
            return f"batch = {self.batch} sequences have only states = {self.states} rows for their states"
        return None

    def work(self) -> Work:
        """Read all but the states of no sequence, write h, v_new and the states that moved; w H and k^T V per token: 4DD'."""
        steps = self.batch * self.tokens
        values = nbytes(self.dtype, steps * self.v_heads * self.value_dim)
        state = self.batch * self.v_heads * self.key_dim * self.value_dim
        keys = nbytes(self.dtype, steps * (self.k_heads + self.v_heads) * self.key_dim)
        return Work(
            read=keys + values + nbytes("fp32", steps * self.v_heads + state) + nbytes("int32", self.batch),
            written=nbytes(self.dtype, self.chunks * state) + values + nbytes("fp32", state),
            flop={matrix_unit(self.dtype): 4 * steps * self.v_heads * self.key_dim * self.value_dim},
        )

    def inputs(self, new: New) -> Inputs:
        """Keys of length one, and a w short enough that w and k together do not blow the state up over hundreds of chunks."""
        return {
            "k": new.normal((self.batch, self.tokens, self.k_heads, self.key_dim), self.dtype, std=self.key_dim**-0.5),
            "w": new.normal(
                (self.batch, self.tokens, self.v_heads, self.key_dim),
                self.dtype,
                std=0.5 * max(self.key_dim, 2 * self.chunk, 64) ** -0.5,
            ),
            "u": new.normal((self.batch, self.tokens, self.v_heads, self.value_dim), self.dtype),
            "g": cumulative_decay(new, self.batch, self.tokens, self.v_heads, self.chunk),
            "initial_state": new.normal((self.states, self.v_heads, self.key_dim, self.value_dim), "fp32", std=0.5),
            "initial_state_indices": new.permutation(self.batch, "int32", of=self.states),
        }

    def outputs(self) -> dict[str, Spec]:
        state = (self.v_heads, self.key_dim, self.value_dim)
        return {
            "h": Spec(shape=(self.batch, self.chunks, *state), dtype=self.dtype),
            "v_new": Spec(shape=(self.batch, self.tokens, self.v_heads, self.value_dim), dtype=self.dtype),
            "final_state": Spec(shape=(self.states, *state), dtype="fp32"),
        }

    def reference(
        self,
        k: "Tensor",
        w: "Tensor",
        u: "Tensor",
        g: "Tensor",
        initial_state: "Tensor",
        initial_state_indices: "Tensor",
    ) -> tuple["Tensor", "Tensor", "Tensor"]:
        """In fp32, chunk after chunk, rounded where the operator rounds; h comes rounded, since that is what w meets."""
        import torch

        h = torch.empty((self.batch, self.chunks, *initial_state.shape[1:]), dtype=u.dtype, device=u.device)
        v_new = torch.empty(u.shape, dtype=torch.float32, device=u.device)
        rows = initial_state_indices.long()
        state = initial_state[rows]
        for number, some in enumerate(chunks(self.tokens, self.chunk)):
            # Heads before tokens: [batch, v_heads, tokens of the chunk, key_dim or value_dim].
            key = k[:, some].repeat_interleave(self.v_heads // self.k_heads, 2).float().transpose(1, 2)
            key_of_state, value = (x[:, some].float().transpose(1, 2) for x in (w, u))
            left = g[:, some].transpose(1, 2)[..., None]
            last = left[:, :, -1:]
            h[:, number] = state
            change = value - key_of_state @ h[:, number].float()
            v_new[:, some] = change.transpose(1, 2)
            faded = change * (last - left).exp().masked_fill(last > left, 0.0)
            state = last.exp() * state + key.transpose(-1, -2) @ faded.to(u.dtype).float()
        pool = initial_state.clone()
        pool[rows] = state
        return h, v_new, pool

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """The states that moved within 2e-2 each; the others as they were."""
        return pool_flaw("final_state", got["final_state"], want["final_state"], inputs["initial_state_indices"], 2e-2)
