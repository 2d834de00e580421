"""l2_norm: queries and keys of linear attention brought to length 1."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class L2Norm(Operator):
    """out = x / sqrt(sum(x^2) + eps), row by row: x, out [tokens, hidden]."""

    tokens: Dim
    hidden: Dim
    dtype: FloatDtype = "bf16"
    eps: float = 1e-6

    category = "norm"
    # Values of a row of length 1 are about hidden^-1/2, far below the absolute error that a norm of size 1 may have.
    tolerance = {"out": Tolerance(rtol=2**-7, atol=1e-6, rel_l2=3e-3)}
    fuzz = {"hidden": (1, 5000)}

    def work(self) -> Work:
        """Read x, write out; a square, a sum and a scale per element: 3TH."""
        row = nbytes(self.dtype, self.hidden)
        return Work(read=self.tokens * row, written=self.tokens * row, flop={"fp32": 3 * self.tokens * self.hidden})

    def inputs(self, new: New) -> Inputs:
        """Rows of length 4e-3 whatever their width, so that eps is 6 % of the sum and dropping it is seen."""
        return {"x": new.normal((self.tokens, self.hidden), self.dtype, std=4e-3 * self.hidden**-0.5)}

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.hidden), dtype=self.dtype)}

    def reference(self, x: "Tensor") -> "Tensor":
        """In fp64, kept in fp32: the largest production shape has 268 million elements."""

        def normalised(rows: "Tensor") -> "Tensor":
            wide = rows.double()
            return (wide * (wide.square().sum(-1, keepdim=True) + self.eps).rsqrt()).float()

        return by_rows(normalised, x)
