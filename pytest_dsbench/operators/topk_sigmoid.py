"""topk_sigmoid: the router of sigmoid models: experts score by themselves, and a bias chooses without weighing."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._gating import LOST, drawn_bias, misweighted, outranked, overdrawn, routed

if TYPE_CHECKING:
    from torch import Tensor


class TopkSigmoid(Operator):
    """The top_k largest of sigmoid(gating_output) + correction_bias per row, in descending order, with the sigmoid as weight.

    gating_output [tokens, experts]; correction_bias fp32 [experts], where there is a bias; topk_weights fp32 and topk_ids int32,
    both [tokens, top_k]. Renormalised, the weights of a row add up to 1.
    """

    tokens: Dim
    experts: Dim
    top_k: Dim
    renormalize: bool = False
    bias: bool = True
    #: of the logits
    dtype: FloatDtype = "fp32"

    category = "routing"
    fuzz = {"top_k": "= 1 + _others % experts", "_others": (0, 15)}
    # Of experts that the bias makes equal, each has a weight of its own.
    tolerance = {"topk_weights": Tolerance(judged=True), "topk_ids": Tolerance(judged=True)}

    @property
    def constants(self) -> tuple[str, ...]:  # type: ignore[override]
        """A model's bias stays the same."""
        return ("correction_bias",) if self.bias else ()

    def contradiction(self) -> str | None:
        return overdrawn(self.experts, self.top_k)

    def work(self) -> Work:
        """Read logits and bias, write weights and ids; 3TE for the sigmoid, TE for a bias, T(2k - 1) to renormalise."""
        each = (3 + self.bias) * self.experts + self.renormalize * (2 * self.top_k - 1)
        return Work(
            read=nbytes(self.dtype, self.tokens * self.experts) + 4 * self.bias * self.experts,
            written=8 * self.tokens * self.top_k,
            flop={"fp32": self.tokens * each},
        )

    def inputs(self, new: New) -> Inputs:
        logits = new.normal((self.tokens, self.experts), self.dtype)
        return {"gating_output": logits} | drawn_bias(new, self.bias, self.experts)

    def outputs(self) -> dict[str, Spec]:
        return routed(self.tokens, self.top_k)

    def reference(self, gating_output: "Tensor", correction_bias: "Tensor | None" = None) -> tuple["Tensor", "Tensor"]:
        scores = gating_output.double().sigmoid()
        ids = _choice(scores, correction_bias).topk(self.top_k).indices
        chosen = scores.gather(-1, ids)
        return chosen / chosen.sum(-1, keepdim=True) if self.renormalize else chosen, ids.int()

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Experts that are as good as each other may come in either order; the weight is that of the expert that is named."""
        scores, ids = inputs["gating_output"].double().sigmoid(), got["topk_ids"].long()
        choice = _choice(scores, inputs.get("correction_bias"))
        flaw = outranked(ids, choice, want["topk_ids"], (LOST, LOST), "score")
        return flaw or misweighted(got["topk_weights"], scores.gather(-1, ids), self.renormalize)


def _choice(scores: "Tensor", bias: "Tensor | None") -> "Tensor":
    return scores if bias is None else scores + bias
