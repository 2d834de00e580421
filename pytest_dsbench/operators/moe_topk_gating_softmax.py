"""moe_topk_gating_softmax: which experts every token goes to, and with what weight."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..work import Work
from ._gating import SOFTMAX, likeliest, overdrawn, routed, unlikely

if TYPE_CHECKING:
    from torch import Tensor


class MoeTopkGatingSoftmax(Operator):
    """The top_k largest of softmax(gating_output) per row, in descending order, not renormalised.

    gating_output fp32 [tokens, experts]; topk_weights fp32 and topk_ids int32, both [tokens, top_k].
    """

    tokens: Dim
    experts: Dim
    top_k: Dim

    category = "routing"
    fuzz = {"top_k": "= 1 + _others % experts", "_others": (0, 15)}
    tolerance = {"topk_weights": SOFTMAX, "topk_ids": Tolerance(judged=True)}

    def contradiction(self) -> str | None:
        return overdrawn(self.experts, self.top_k)

    def work(self) -> Work:
        """Read the logits, write weights and ids; maximum, exponential, sum and division: T(4E - 1)."""
        return Work(
            read=4 * self.tokens * self.experts,
            written=8 * self.tokens * self.top_k,
            flop={"fp32": self.tokens * (4 * self.experts - 1)},
        )

    def inputs(self, new: New) -> Inputs:
        return {"gating_output": new.normal((self.tokens, self.experts), "fp32")}

    def outputs(self) -> dict[str, Spec]:
        return routed(self.tokens, self.top_k)

    def reference(self, gating_output: "Tensor") -> tuple["Tensor", "Tensor"]:
        return likeliest(gating_output, self.top_k)

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Experts with equal probability may come in either order; their probabilities must be the largest, in order."""
        return unlikely(got["topk_ids"], inputs["gating_output"], want["topk_ids"])
