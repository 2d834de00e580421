"""moe_topk_gating_softmax: which experts every token goes to, and with what weight."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..work import Work

if TYPE_CHECKING:
    from torch import Tensor

#: Two probabilities closer than this, relatively, may change places: fp32 cannot tell them apart.
_TIE = 1e-6
#: The smallest normal fp32: where a probability underflows, an fp32 kernel gives zero and any order is right.
_UNDERFLOW = 2.0**-126


class MoeTopkGatingSoftmax(Operator):
    """The top_k largest of softmax(gating_output) per row, in descending order, not renormalised.

    gating_output fp32 [tokens, experts]; topk_weights fp32 and topk_ids int32, both [tokens, top_k].
    """

    tokens: Dim
    experts: Dim
    top_k: Dim

    fuzz = {"top_k": "= 1 + _others % experts", "_others": (0, 15)}
    tolerance = {"topk_weights": Tolerance(rtol=1e-5, atol=_UNDERFLOW), "topk_ids": Tolerance(judged=True)}

    def contradiction(self) -> str | None:
        if self.top_k > self.experts:
            return f"top_k = {self.top_k} of only {self.experts} experts"
        return None

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
        shape = (self.tokens, self.top_k)
        return {"topk_weights": Spec(shape=shape, dtype="fp32"), "topk_ids": Spec(shape=shape, dtype="int32")}

    def reference(self, gating_output: "Tensor") -> tuple["Tensor", "Tensor"]:
        weights, ids = gating_output.double().softmax(-1).topk(self.top_k)
        return weights, ids.int()

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Experts with equal probability may come in either order; their probabilities must be the largest, in order."""
        ids = got["topk_ids"].long()
        outside = (ids < 0) | (ids >= self.experts)
        if bool(outside.any()):
            row, place = _first(outside)
            return f"topk_ids[{row}, {place}] is {int(ids[row, place])}; expected 0 to {self.experts - 1}"
        ordered = ids.sort(-1).values
        twice = ordered[:, 1:] == ordered[:, :-1]
        if bool(twice.any()):
            row, place = _first(twice)
            return f"topk_ids[{row}] names expert {int(ordered[row, place])} twice"
        chosen = inputs["gating_output"].double().softmax(-1).gather(-1, ids)
        best = want["topk_weights"]
        wrong = (chosen - best).abs() > _TIE * best + _UNDERFLOW
        if bool(wrong.any()):
            row, place = _first(wrong)
            right = int(want["topk_ids"][row, place])
            return (
                f"topk_ids[{row}, {place}] is expert {int(ids[row, place])} of probability {float(chosen[row, place]):.6g};"
                f" expected expert {right} of probability {float(best[row, place]):.6g}"
            )
        return None


def _first(where: "Tensor") -> tuple[int, int]:
    row, place = where.nonzero()[0].tolist()
    return row, place
