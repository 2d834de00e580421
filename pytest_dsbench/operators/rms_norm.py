"""rms_norm: the row-wise normalisation in front of every attention and MLP block."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class RmsNorm(Operator):
    """out = x / rms(x) * weight, row by row: x [tokens, hidden], weight [hidden], out as x."""

    tokens: Dim
    hidden: Dim
    dtype: FloatDtype = "bf16"
    eps: float = 1e-6

    category = "norm"
    fuzz = {"hidden": (1, 5000)}
    tolerance = {"out": Tolerance(rtol=2**-7, atol=1e-5, rel_l2=3e-3)}
    constants = ("weight",)

    def work(self) -> Work:
        """Read x and weight, write out; a square, a sum, a scale per element and a weight: T(3H + 1)."""
        row = nbytes(self.dtype, self.hidden)
        return Work(
            read=self.tokens * row + row,
            written=self.tokens * row,
            flop={"fp32": self.tokens * (3 * self.hidden + 1)},
        )

    def inputs(self, new: New) -> Inputs:
        """x is small, so that eps is 0.25 % of the mean square and dropping it is seen."""
        return {
            "x": new.normal((self.tokens, self.hidden), self.dtype, std=0.02),
            "weight": new.normal((self.hidden,), self.dtype, std=0.02, mean=1.0),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.hidden), dtype=self.dtype)}

    def reference(self, x: "Tensor", weight: "Tensor") -> "Tensor":
        return by_rows(lambda rows: normalised(rows, weight, self.eps), x)


def normalised(x: "Tensor", weight: "Tensor", eps: float) -> "Tensor":
    """x / rms(x) * weight in fp64, unrounded: x [tokens, hidden], weight [hidden]."""
    wide = x.double()
    scale = (wide.square().mean(-1, keepdim=True) + eps).rsqrt()
    return wide * scale * weight.double()
