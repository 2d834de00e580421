"""fused_qk_rmsnorm: every query and key head normalised by itself, inside the joint output of the qkv projection."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows
from ._ulp import ULP

if TYPE_CHECKING:
    from torch import Tensor


class FusedQkRmsnorm(Operator):
    """Each q head becomes q_weight * (q / rms(q)), each k head k_weight * (k / rms(k)); v stays as it is.

    hidden_states, out [tokens, (q_heads + 2 * kv_heads) * head_dim], in every row q, then k, then v; weights [head_dim].
    """

    tokens: Dim
    q_heads: Dim
    kv_heads: Dim
    head_dim: Dim = 128
    dtype: FloatDtype = "fp16"
    eps: float = 1e-6

    category = "norm"
    constants = ("q_weight", "k_weight")
    fuzz = {"q_heads": (1, 16), "kv_heads": (1, 8), "head_dim": [128, 64, 80, 256]}

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Two units in the last place: the other side of one rounding, then the rounding of the product.

        An fp32 kernel has nothing to round to, but adds up its squares in an order of its own: a few units of 2^-24.
        """
        if self.dtype == "fp32":
            return {"out": Tolerance(rtol=2**-20, atol=1e-6)}
        return {"out": Tolerance(rtol=2 * ULP[self.dtype], atol=1e-4)}

    @property
    def normed_heads(self) -> int:
        """Heads that are normalised: those of q and of k."""
        return self.q_heads + self.kv_heads

    @property
    def heads(self) -> int:
        """All heads of a row."""
        return self.normed_heads + self.kv_heads

    def work(self) -> Work:
        """Read q, k and both weights, write q and k: in place nothing of v moves. rms_norm's FLOP: T(Hq + Hk)(3D + 1)."""
        head = nbytes(self.dtype, self.head_dim)
        rows = self.tokens * self.normed_heads
        return Work(read=rows * head + 2 * head, written=rows * head, flop={"fp32": rows * (3 * self.head_dim + 1)})

    def inputs(self, new: New) -> Inputs:
        """Heads are small, so that eps is 6 % of their mean square: leaving it out is seen in bf16 too."""
        return {
            "hidden_states": new.normal((self.tokens, self.heads * self.head_dim), self.dtype, std=0.004),
            "q_weight": new.normal((self.head_dim,), self.dtype, std=0.1, mean=1.0),
            "k_weight": new.normal((self.head_dim,), self.dtype, std=0.1, mean=1.0),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.heads * self.head_dim), dtype=self.dtype)}

    def reference(self, hidden_states: "Tensor", q_weight: "Tensor", k_weight: "Tensor") -> "Tensor":
        """In fp64 but for the one rounding of the specification: the normalised head, before its weight."""
        import torch

        weight = torch.cat([q_weight.expand(self.q_heads, -1), k_weight.expand(self.kv_heads, -1)]).double()

        def normalised(rows: "Tensor") -> "Tensor":
            wide = rows[:, : self.normed_heads].double()
            scale = (wide.square().mean(-1, keepdim=True) + self.eps).rsqrt()
            rounded = (wide * scale).to(rows.dtype)
            return torch.cat([rounded.double() * weight, rows[:, self.normed_heads :].double()], 1).flatten(1)

        return by_rows(normalised, hidden_states.view(self.tokens, self.heads, self.head_dim))

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """v is copied, so there nothing is rounded."""
        first = self.normed_heads * self.head_dim
        wrong = got["out"][:, first:] != want["out"][:, first:]
        if not bool(wrong.any()):
            return None
        row, column = wrong.nonzero()[0].tolist()
        return f"output 'out' is wrong: v at [{row}, {first + column}] is not that of the input, bit by bit"
