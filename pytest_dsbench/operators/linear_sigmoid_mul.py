"""linear_sigmoid_mul: a projection whose sigmoid gates another tensor, as in front of a shared expert."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, matrix_unit, nbytes
from ..work import Work
from ._rows import by_rows
from ._ulp import ULP

if TYPE_CHECKING:
    from torch import Tensor


#: From this many gates on, the relative error of all of them together is an average.
_MANY = 256


class LinearSigmoidMul(Operator):
    """g = hidden_states weight^T + bias, rounded; out = sigmoid(g) * post_mul_mat.

    hidden_states [tokens, hidden], weight [features, hidden], bias [features]; post_mul_mat, out [tokens, features], or
    [tokens, hidden] where features = 1: then one gate per token scales its whole row.
    """

    tokens: Dim
    hidden: Dim
    features: Dim
    dtype: FloatDtype = "bf16"

    category = "gemm"
    constants = ("weight", "bias")
    fuzz = {"hidden": (1, 600)}

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """A gate one unit in the last place off, at most 4 units of 1 below 8, moves a small sigmoid by as much, relatively.

        Where few gates scale all there is, their errors do not average. An fp32 gate is off by the order of its sum.
        """
        each = max(4 * ULP[self.dtype], 2**-12)
        return {"out": Tolerance(rtol=each, rms=2**-8, rel_l2=4e-3 if self.tokens * self.features >= _MANY else max(each, 4e-3))}

    @property
    def width(self) -> int:
        """Columns of what is gated."""
        return self.features if self.features > 1 else self.hidden

    def work(self) -> Work:
        """Read all four, write out; a product whose sums begin with the bias: TF(2H + 1) on the dtype's unit."""
        read = self.tokens * self.hidden + self.features * (self.hidden + 1) + self.tokens * self.width
        return Work(
            read=nbytes(self.dtype, read),
            written=nbytes(self.dtype, self.tokens * self.width),
            flop={matrix_unit(self.dtype): self.tokens * self.features * (2 * self.hidden + 1)},
        )

    def inputs(self, new: New) -> Inputs:
        """Gates of size 1.4, half of it from the bias, so that both matter."""
        return {
            "hidden_states": new.normal((self.tokens, self.hidden), self.dtype),
            "weight": new.normal((self.features, self.hidden), self.dtype, std=self.hidden**-0.5),
            "bias": new.normal((self.features,), self.dtype),
            "post_mul_mat": new.normal((self.tokens, self.width), self.dtype),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.width), dtype=self.dtype)}

    def reference(self, hidden_states: "Tensor", weight: "Tensor", bias: "Tensor", post_mul_mat: "Tensor") -> "Tensor":
        """In fp32 but for the one rounding of the specification, that of the gate."""
        columns, offset = weight.float().T, bias.float()

        def gated(rows: "Tensor", values: "Tensor") -> "Tensor":
            gate = (rows.float() @ columns + offset).to(rows.dtype)
            return gate.float().sigmoid() * values.float()

        return by_rows(gated, hidden_states, post_mul_mat)
