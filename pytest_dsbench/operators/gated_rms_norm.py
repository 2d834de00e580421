"""gated_rms_norm: the normalisation behind linear attention, head by head, with a gate."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows
from .rms_norm import normalised

if TYPE_CHECKING:
    from torch import Tensor


class GatedRmsNorm(Operator):
    """out = x / rms(x) * weight * silu(z), row by row: x, z, out [rows, hidden], weight [hidden]."""

    #: tokens times heads
    rows: Dim
    hidden: Dim = 128
    dtype: FloatDtype = "bf16"
    eps: float = 1e-6

    category = "norm"
    tolerance = {"out": Tolerance(rtol=2**-7, atol=1e-5, rel_l2=3e-3)}
    constants = ("weight",)
    fuzz = {"hidden": (1, 1000)}

    def work(self) -> Work:
        """Read x, z and weight, write out; rms_norm's 3H + 1, silu and its product: R(8H + 1)."""
        row = nbytes(self.dtype, self.hidden)
        return Work(
            read=2 * self.rows * row + row,
            written=self.rows * row,
            flop={"fp32": self.rows * (8 * self.hidden + 1)},
        )

    def inputs(self, new: New) -> Inputs:
        """x is small, so that eps is 4 % of the mean square and dropping it is seen."""
        return {
            "x": new.normal((self.rows, self.hidden), self.dtype, std=0.005),
            "z": new.normal((self.rows, self.hidden), self.dtype),
            "weight": new.normal((self.hidden,), self.dtype, std=0.02, mean=1.0),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.rows, self.hidden), dtype=self.dtype)}

    def reference(self, x: "Tensor", z: "Tensor", weight: "Tensor") -> "Tensor":
        """Nothing is rounded on the way, neither the norm nor the gate."""

        def gated(rows: "Tensor", gates: "Tensor") -> "Tensor":
            wide = gates.double()
            return normalised(rows, weight, self.eps) * wide * wide.sigmoid()

        return by_rows(gated, x, z)
