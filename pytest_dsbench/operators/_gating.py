"""Which experts a router chose, and with what weight: what is wrong with ids of which more than one choice is right."""

from typing import TYPE_CHECKING

from ..operator import Inputs, New, Spec, Tolerance
from ..units import FloatDtype

if TYPE_CHECKING:
    from torch import Tensor

#: The smallest normal fp32: where a probability underflows, an fp32 kernel gives zero and any order is right.
_UNDERFLOW = 2.0**-126
#: Weights that are probabilities, from an fp32 softmax.
SOFTMAX = Tolerance(rtol=1e-5, atol=_UNDERFLOW)
#: Two probabilities closer than this, relatively, may change places: fp32 cannot tell them apart.
_TIE = 1e-6
#: What fp32 loses of a sigmoid: kernels add the bias to it and take it off again, or compute it by tanh.
LOST = 1e-6
#: Of chosen sigmoids that add up to less than this, fp32 has too few bits left to say what share each of them has.
_FAINT = 1e-3


def routed(tokens: int, top_k: int) -> dict[str, Spec]:
    """The outputs of a router: topk_weights fp32 and topk_ids int32, both [tokens, top_k]."""
    shape = (tokens, top_k)
    return {"topk_weights": Spec(shape=shape, dtype="fp32"), "topk_ids": Spec(shape=shape, dtype="int32")}


def drawn_bias(new: New, bias: bool, experts: int, dtype: FloatDtype = "fp32") -> Inputs:
    """correction_bias [experts], where there is one: as large as the differences of sigmoids, so that it changes most choices."""
    return {"correction_bias": new.uniform((experts,), dtype, -0.5, 0.5)} if bias else {}


def likeliest(logits: "Tensor", top_k: int) -> tuple["Tensor", "Tensor"]:
    """The largest probabilities of each row, fp64 in descending order, and whose they are, int32."""
    weights, ids = logits.double().softmax(-1).topk(top_k)
    return weights, ids.int()


def unlikely(ids: "Tensor", logits: "Tensor", want: "Tensor") -> str | None:
    """One sentence where ids are not the likeliest of each row of logits, in descending order; or None."""
    return outranked(ids.long(), logits.double().softmax(-1), want, (_TIE, _UNDERFLOW), "probability")


def overdrawn(experts: int, top_k: int) -> str | None:
    """One sentence where there are fewer experts than are to be chosen."""
    return f"top_k = {top_k} of only {experts} experts" if top_k > experts else None


def unnamed(ids: "Tensor", experts: int) -> str | None:
    """One sentence where a row of ids int64 [tokens, top_k] names an expert that there is not, or one twice; or None."""
    outside = (ids < 0) | (ids >= experts)
    if bool(outside.any()):
        row, place = first(outside)
        return f"topk_ids[{row}, {place}] is {int(ids[row, place])}; expected 0 to {experts - 1}"
    ordered = ids.sort(-1).values
    twice = ordered[:, 1:] == ordered[:, :-1]
    if bool(twice.any()):
        row, place = first(twice)
        return f"topk_ids[{row}] names expert {int(ordered[row, place])} twice"
    return None


def outranked(ids: "Tensor", scores: "Tensor", want: "Tensor", slack: tuple[float, float], what: str) -> str | None:
    """One sentence where ids are not those of the largest scores, in descending order; or None.

    scores fp64 [tokens, experts], called `what`; want: right ids. Scores that differ by less than slack = (share, at least)
    may change places: where a kernel cannot tell them apart, any order is right.
    """
    flaw = unnamed(ids, scores.shape[-1])
    if flaw is not None:
        return flaw
    chosen, best = scores.gather(-1, ids), scores.gather(-1, want.long())
    wrong = (chosen - best).abs() > slack[0] * best.abs() + slack[1]
    if bool(wrong.any()):
        row, place = first(wrong)
        return (
            f"topk_ids[{row}, {place}] is expert {int(ids[row, place])} of {what} {float(chosen[row, place]):.6g};"
            f" expected expert {int(want[row, place])} of {what} {float(best[row, place]):.6g}"
        )
    return None


def misweighted(weights: "Tensor", chosen: "Tensor", shares: bool, scaling: float = 1.0, rounding: float = 1e-5) -> str | None:
    """One sentence where a weight is not the sigmoid that the expert named in its place has; or None.

    chosen: those sigmoids, fp64 [tokens, top_k]; the weights are these, or `scaling` times their shares of the sum of their row.
    rounding: what a weight may be off by, relatively, beside what fp32 loses of a sigmoid.
    """
    right, lost = chosen, chosen.new_tensor(LOST)
    judged = chosen >= 0
    if shares:
        total = chosen.sum(-1, keepdim=True)
        right, lost, judged = scaling * chosen / total, scaling * LOST / total, (total >= _FAINT).expand_as(chosen)
    # What is NaN is not within anything.
    wrong = judged & ~((weights.double() - right).abs() <= rounding * right + lost)
    if bool(wrong.any()):
        row, place = first(wrong)
        return (
            f"topk_weights[{row}, {place}] is {float(weights[row, place]):.6g};"
            f" expected {float(right[row, place]):.6g}, that of the expert in its place"
        )
    return None


def first(where: "Tensor") -> tuple[int, int]:
    """Row and column of the first element that is true."""
    row, place = where.nonzero()[0].tolist()
    return row, place
