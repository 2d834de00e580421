"""fused_add_rms_norm: the residual connection and the normalisation after it, in one pass over both."""

from typing import TYPE_CHECKING

from ..operator import EXACT, Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows
from .rms_norm import normalised

if TYPE_CHECKING:
    from torch import Tensor


class FusedAddRmsNorm(Operator):
    """r = x + residual, rounded; out = r / rms(r) * weight: x, residual, out, r [tokens, hidden], weight [hidden]."""

    tokens: Dim
    hidden: Dim
    dtype: FloatDtype = "bf16"
    eps: float = 1e-6

    category = "norm"
    fuzz = {"hidden": (1, 5000)}
    # Kernels in production normalise the sum before it is rounded too: beside a huge channel that is up to 1.1 % of an element.
    tolerance = {"out": Tolerance(rtol=3 * 2**-8, atol=1e-5, rel_l2=3e-3), "residual": EXACT}
    constants = ("weight",)

    def work(self) -> Work:
        """Read x, residual and weight, write out and r; rms_norm's FLOP and one sum per element: T(4H + 1)."""
        row = nbytes(self.dtype, self.hidden)
        return Work(
            read=2 * self.tokens * row + row,
            written=2 * self.tokens * row,
            flop={"fp32": self.tokens * (4 * self.hidden + 1)},
        )

    def inputs(self, new: New) -> Inputs:
        """A small update of a large residual, as inside a deep model."""
        return {
            "x": new.normal((self.tokens, self.hidden), self.dtype, std=0.02),
            "residual": new.normal((self.tokens, self.hidden), self.dtype),
            "weight": new.normal((self.hidden,), self.dtype, std=0.02, mean=1.0),
        }

    def outputs(self) -> dict[str, Spec]:
        spec = Spec(shape=(self.tokens, self.hidden), dtype=self.dtype)
        return {"out": spec, "residual": spec}

    def reference(self, x: "Tensor", residual: "Tensor", weight: "Tensor") -> tuple["Tensor", "Tensor"]:
        """The sum rounds once, to the residual that the next layer reads; the norm is taken of that rounded sum."""
        total = x + residual
        return by_rows(lambda rows: normalised(rows, weight, self.eps), total), total
