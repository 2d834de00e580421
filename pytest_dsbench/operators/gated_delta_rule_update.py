"""gated_delta_rule_update: the recurrence of gated linear attention, token by token, on states kept in a pool."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, matrix_unit, nbytes
from ..work import Work
from ._delta_rule import pool_flaw

if TYPE_CHECKING:
    from torch import Tensor

#: Elements of the states that the reference holds beside the pool: 64 MiB in fp32.
_CHUNK = 2**24
#: Below this norm a query or key is not made any longer.
_SHORTEST = 1e-6


class GatedDeltaRuleUpdate(Operator):
    """For every token and value head, with its state H [key_dim, value_dim] in fp32, and q and k divided by their norms:

    H = decay H; H = H + beta k (v - H^T k)^T; out = H^T q / sqrt(key_dim),
    where decay = exp(-exp(a_log) softplus(a + dt_bias)) and beta = sigmoid(b).

    a_log fp32 [v_heads], dt_bias [v_heads], a, b [batch, tokens, v_heads], q, k [batch, tokens, q_heads, key_dim],
    v, out [batch, tokens, v_heads, value_dim], initial_state, final_state fp32 [states, v_heads, key_dim, value_dim],
    initial_state_indices int32 [batch]: the row of the pool that holds a sequence's state. Neighbouring value heads share a
    query head.
    """

    batch: Dim = 1
    #: steps of each sequence, one after another
    tokens: Dim
    q_heads: Dim
    v_heads: Dim
    key_dim: Dim = 128
    value_dim: Dim = 128
    #: rows of the pool, at least as many as sequences
    states: Dim
    dtype: FloatDtype = "bf16"

    category = "linear_attention"
    tolerance = {
        "out": Tolerance(rtol=2**-7, rms=3e-2, rel_l2=1e-2),
        "final_state": Tolerance(rtol=1e-3, rms=1e-2, rel_l2=1e-3),
    }
    constants = ("a_log", "dt_bias")
    fuzz = {
        "batch": (1, 3),
        "tokens": (1, 200),
        "q_heads": (1, 3),
        "v_heads": "= q_heads * _ratio",
        "_ratio": (1, 3),
        "key_dim": (1, 130),
        "value_dim": (16, 130),
        "states": "= batch + _spare",
        "_spare": (0, 3),
    }

    def contradiction(self) -> str | None:
        if self.v_heads % self.q_heads:
            return f"v_heads = {self.v_heads} is no multiple of q_heads = {self.q_heads}"
        if self.batch > self.states:
            return f"batch = {self.batch} sequences have only states = {self.states} rows for their states"
        return None

    def work(self) -> Work:
        """Read all but the states of no sequence, write out and the states that moved; H^T k, k v^T and H^T q per token: 6DD'.

        A kernel that steps does them on the vector unit. One that takes whole chunks does as many as matrix products, on the
        faster unit: that is what no kernel can beat.
        """
        steps = self.batch * self.tokens
        out = nbytes(self.dtype, steps * self.v_heads * self.value_dim)
        state = nbytes("fp32", self.batch * self.v_heads * self.key_dim * self.value_dim)
        gates = nbytes("fp32", self.v_heads) + nbytes(self.dtype, self.v_heads + 2 * steps * self.v_heads)
        return Work(
            read=gates + nbytes(self.dtype, 2 * steps * self.q_heads * self.key_dim) + out + state + nbytes("int32", self.batch),
            written=out + state,
            flop={matrix_unit(self.dtype): 6 * steps * self.v_heads * self.key_dim * self.value_dim},
        )

    def inputs(self, new: New) -> Inputs:
        """Gates such that a step keeps between half and all but a thousandth of the state; the values are of ordinary size."""
        steps = (self.batch, self.tokens)
        return {
            "a_log": new.uniform((self.v_heads,), "fp32", low=-2.3, high=-0.4),
            "dt_bias": new.normal((self.v_heads,), self.dtype, std=0.5, mean=-2.0),
            "a": new.normal((*steps, self.v_heads), self.dtype, std=0.5),
            "b": new.normal((*steps, self.v_heads), self.dtype),
            "q": new.normal((*steps, self.q_heads, self.key_dim), self.dtype),
            "k": new.normal((*steps, self.q_heads, self.key_dim), self.dtype),
            "v": new.normal((*steps, self.v_heads, self.value_dim), self.dtype),
            "initial_state": new.normal((self.states, self.v_heads, self.key_dim, self.value_dim), "fp32", std=0.5),
            "initial_state_indices": new.permutation(self.batch, "int32", of=self.states),
        }

    def outputs(self) -> dict[str, Spec]:
        return {
            "out": Spec(shape=(self.batch, self.tokens, self.v_heads, self.value_dim), dtype=self.dtype),
            "final_state": Spec(shape=(self.states, self.v_heads, self.key_dim, self.value_dim), dtype="fp32"),
        }

    def reference(
        self,
        a_log: "Tensor",
        dt_bias: "Tensor",
        a: "Tensor",
        b: "Tensor",
        q: "Tensor",
        k: "Tensor",
        v: "Tensor",
        initial_state: "Tensor",
        initial_state_indices: "Tensor",
    ) -> tuple["Tensor", "Tensor"]:
        """In fp32, one token after another, all heads of some sequences at a time."""
        import torch

        decay, beta = gates(a_log, dt_bias, a, b)
        out = torch.empty(v.shape, dtype=torch.float32, device=v.device)
        pool = initial_state.clone()
        step = max(1, _CHUNK // (self.v_heads * self.key_dim * self.value_dim))
        for start in range(0, self.batch, step):
            some = slice(start, start + step)
            rows = initial_state_indices[some].long()
            # Heads of all these sequences side by side: [sequences * v_heads, key_dim, value_dim].
            state = pool[rows].flatten(0, 1)
            for token in range(self.tokens):
                query, key = (self._per_value_head(unit(x[some, token])) for x in (q, k))
                value = v[some, token].float().flatten(0, 1)
                state.mul_(decay[some, token].flatten()[:, None, None])
                known = torch.bmm(key[:, None], state)[:, 0]
                change = beta[some, token].flatten()[:, None] * (value - known)
                state = torch.baddbmm(state, key[:, :, None], change[:, None])
                read = torch.bmm(query[:, None], state)[:, 0] * self.key_dim**-0.5
                out[some, token] = read.view(-1, self.v_heads, self.value_dim)
            pool[rows] = state.view(-1, self.v_heads, self.key_dim, self.value_dim)
        return out, pool

    def _per_value_head(self, x: "Tensor") -> "Tensor":
        """[sequences, q_heads, key_dim] repeated and flattened to [sequences * v_heads, key_dim]."""
        return x.repeat_interleave(self.v_heads // self.q_heads, 1).flatten(0, 1)

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """The states that moved within 1e-3 each; the others as they were."""
        return pool_flaw("final_state", got["final_state"], want["final_state"], inputs["initial_state_indices"], 1e-3)


def gates(a_log: "Tensor", dt_bias: "Tensor", a: "Tensor", b: "Tensor") -> tuple["Tensor", "Tensor"]:
    """decay and beta, fp32 as a and b [..., v_heads]."""
    from torch.nn.functional import softplus

    return (-a_log.exp() * softplus(a.float() + dt_bias.float())).exp(), b.float().sigmoid()


def unit(x: "Tensor") -> "Tensor":
    """x [..., key_dim] divided by its norm, in fp32."""
    import torch

    wide = x.float()
    length: Tensor = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return wide / length.clamp_min(_SHORTEST)
