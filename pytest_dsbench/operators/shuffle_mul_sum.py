"""shuffle_mul_sum: the end of an MoE layer whose rows lie expert by expert: back to their tokens, weighted, summed."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows
from .moe_sum_reduce import rounded_once

if TYPE_CHECKING:
    from torch import Tensor


class ShuffleMulSum(Operator):
    """out[t] = sum over j of factors[t, j] * expert_outputs[permutation[t * top_k + j]], accumulated in fp32.

    expert_outputs [tokens * top_k, hidden], permutation int32 [tokens * top_k], as output_permutation of prepare_moe_input,
    factors [tokens, top_k] in the dtype of out, out [tokens, hidden].
    """

    tokens: Dim
    top_k: Dim
    hidden: Dim
    dtype: FloatDtype = "bf16"

    category = "routing"
    fuzz = {"top_k": (1, 16), "hidden": (1, 3000)}

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """One rounding of an fp32 sum."""
        return {"out": rounded_once(self.dtype)}

    def work(self) -> Work:
        """Read every row, where it belongs and its factor, write the sums; a product and a sum for each element: T(2k - 1)H."""
        rows = self.tokens * self.top_k
        return Work(
            read=nbytes(self.dtype, rows * (self.hidden + 1)) + 4 * rows,
            written=nbytes(self.dtype, self.tokens * self.hidden),
            flop={"fp32": self.tokens * (2 * self.top_k - 1) * self.hidden},
        )

    def inputs(self, new: New) -> Inputs:
        rows = self.tokens * self.top_k
        return {
            "expert_outputs": new.normal((rows, self.hidden), self.dtype, std=0.02),
            "permutation": new.permutation(rows, "int32"),
            "factors": new.uniform((self.tokens, self.top_k), self.dtype, 0.05, 1.0),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.hidden), dtype=self.dtype)}

    def reference(self, expert_outputs: "Tensor", permutation: "Tensor", factors: "Tensor") -> "Tensor":
        def summed(places: "Tensor", shares: "Tensor") -> "Tensor":
            return (expert_outputs[places].double() * shares[..., None].double()).sum(1)

        return by_rows(summed, permutation.view(factors.shape), factors)
