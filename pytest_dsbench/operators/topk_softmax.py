"""topk_softmax: the router of softmax models with its options: a bias on the logits, and weights that add up to one."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._gating import SOFTMAX, drawn_bias, likeliest, overdrawn, routed, unlikely

if TYPE_CHECKING:
    from torch import Tensor


class TopkSoftmax(Operator):
    """The top_k largest of softmax(gating_output + correction_bias) per row, in descending order.

    gating_output [tokens, experts]; correction_bias fp32 [experts], where there is a bias: it changes the choice and the weights;
    topk_weights fp32 and topk_ids int32, both [tokens, top_k]. Renormalised, the weights of a row add up to 1.
    """

    tokens: Dim
    experts: Dim
    top_k: Dim
    renormalize: bool = False
    bias: bool = False
    #: of the logits
    dtype: FloatDtype = "fp32"

    category = "routing"
    fuzz = {"top_k": "= 1 + _others % experts", "_others": (0, 15)}
    tolerance = {"topk_weights": SOFTMAX, "topk_ids": Tolerance(judged=True)}

    @property
    def constants(self) -> tuple[str, ...]:  # type: ignore[override]
        """A model's bias stays the same."""
        return ("correction_bias",) if self.bias else ()

    def contradiction(self) -> str | None:
        return overdrawn(self.experts, self.top_k)

    def work(self) -> Work:
        """Read logits and bias, write weights and ids; T(4E - 1) for the softmax, TE for a bias, T(2k - 1) to renormalise."""
        extra = self.bias * self.experts + self.renormalize * (2 * self.top_k - 1)
        return Work(
            read=nbytes(self.dtype, self.tokens * self.experts) + 4 * self.bias * self.experts,
            written=8 * self.tokens * self.top_k,
            flop={"fp32": self.tokens * (4 * self.experts - 1 + extra)},
        )

    def inputs(self, new: New) -> Inputs:
        logits = new.normal((self.tokens, self.experts), self.dtype)
        return {"gating_output": logits} | drawn_bias(new, self.bias, self.experts)

    def outputs(self) -> dict[str, Spec]:
        return routed(self.tokens, self.top_k)

    def reference(self, gating_output: "Tensor", correction_bias: "Tensor | None" = None) -> tuple["Tensor", "Tensor"]:
        weights, ids = likeliest(_shifted(gating_output, correction_bias), self.top_k)
        return weights / weights.sum(-1, keepdim=True) if self.renormalize else weights, ids

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """As of moe_topk_gating_softmax: experts with equal probability may come in either order."""
        logits = _shifted(inputs["gating_output"], inputs.get("correction_bias"))
        return unlikely(got["topk_ids"], logits, want["topk_ids"])


def _shifted(logits: "Tensor", bias: "Tensor | None") -> "Tensor":
    return logits.double() if bias is None else logits.double() + bias
