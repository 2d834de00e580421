"""fused_moe: the gated MLPs of the experts that every token is routed to, summed by the weights of the router."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, matrix_unit, nbytes
from ..work import Work
from ._moe import drawn_ids, drawn_weights, misrouted, mixture
from ._routing import active

if TYPE_CHECKING:
    from torch import Tensor


class FusedMoe(Operator):
    """out[t] = sum over j of topk_weights[t, j] * w2[e] (silu(gate) * up), (gate, up) = w1[e] hidden_states[t].

    e is topk_ids[t, j]. hidden_states, out [tokens, hidden]; w1 [experts, 2 * intermediate, hidden], gate rows first; w2
    [experts, hidden, intermediate]; topk_weights fp32 and topk_ids int32 [tokens, top_k], ids distinct in every row.
    """

    tokens: Dim
    hidden: Dim
    #: width of each expert, half the rows of its w1
    intermediate: Dim
    experts: Dim
    top_k: Dim
    dtype: FloatDtype = "bf16"

    category = "moe"
    constants = ("w1", "w2")
    # Of narrow tokens and experts few terms decide the size of an output, and the largest are far above the root mean square.
    fuzz = {
        "hidden": (48, 128),
        "intermediate": (48, 160),
        "experts": (1, 24),
        "top_k": "= 1 + _others % experts",
        "_others": (0, 9),
    }
    # Intermediates are rounded to the dtype two to six times; a sum of few rounded terms is off by a share of their size.
    tolerance = {"out": Tolerance(rtol=1e-2, rms=5e-2, rel_l2=1e-2)}
    # A channel 1000 times the others is squared by the gate: tokens are then of such different sizes that no one bound fits.
    edges = ("zeros",)

    def contradiction(self) -> str | None:
        return misrouted(self.experts, self.top_k)

    def work(self) -> Work:
        """Read tokens, routing and the weights of the experts that have a token, write out; 6TkHI on the matrix unit."""
        tensor = self.tokens * nbytes(self.dtype, self.hidden)
        weights = active(self.tokens, self.experts, self.top_k) * nbytes(self.dtype, 3 * self.hidden * self.intermediate)
        routed = self.tokens * self.top_k
        return Work(
            read=tensor + 8 * routed + weights,
            written=tensor,
            flop={matrix_unit(self.dtype): 6 * routed * self.hidden * self.intermediate},
        )

    def inputs(self, new: New) -> Inputs:
        """Gates of size 1, where silu is no straight line."""
        gate_up, down = (self.experts, 2 * self.intermediate, self.hidden), (self.experts, self.hidden, self.intermediate)
        return {
            "hidden_states": new.normal((self.tokens, self.hidden), self.dtype),
            "w1": new.normal(gate_up, self.dtype, std=self.hidden**-0.5),
            "w2": new.normal(down, self.dtype, std=self.intermediate**-0.5),
            "topk_weights": drawn_weights(new, self.tokens, self.top_k),
            "topk_ids": drawn_ids(new, self.tokens, self.experts, self.top_k),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.hidden), dtype=self.dtype)}

    def reference(
        self, hidden_states: "Tensor", w1: "Tensor", w2: "Tensor", topk_weights: "Tensor", topk_ids: "Tensor"
    ) -> "Tensor":
        """In fp32, with nothing rounded in between."""

        def weights(expert: int) -> tuple["Tensor", "Tensor"]:
            return w1[expert].float(), w2[expert].float()

        return mixture((hidden_states,), lambda x: x.float(), topk_weights, topk_ids, self.experts, weights)
