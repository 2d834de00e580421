"""silu_and_mul: the gated activation between the two products of an MLP."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class SiluAndMul(Operator):
    """out = silu(gate) * up: x [tokens, 2 * hidden] holds gate, then up, in every row; out [tokens, hidden]."""

    tokens: Dim
    #: width of the output, half that of the input
    hidden: Dim
    dtype: FloatDtype = "bf16"

    category = "activation"
    fuzz = {"hidden": (1, 5000)}
    # Kernels that round silu before the product and kernels that round once are both right.
    tolerance = {"out": Tolerance(rtol=2**-7, atol=1e-5, rel_l2=4e-3)}

    def work(self) -> Work:
        """Read both halves, write one; negate, exponentiate, add, divide and multiply once per element: 5TI."""
        row = nbytes(self.dtype, self.hidden)
        return Work(
            read=2 * self.tokens * row,
            written=self.tokens * row,
            flop={"fp32": 5 * self.tokens * self.hidden},
        )

    def inputs(self, new: New) -> Inputs:
        return {"x": new.normal((self.tokens, 2 * self.hidden), self.dtype)}

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.hidden), dtype=self.dtype)}

    def reference(self, x: "Tensor") -> "Tensor":
        return by_rows(self._gated, x)

    def _gated(self, x: "Tensor") -> "Tensor":
        gate, up = x[:, : self.hidden].double(), x[:, self.hidden :].double()
        return gate * gate.sigmoid() * up
