"""layer_norm: the normalisation of vision encoders and older decoders, with mean, weight and bias."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class LayerNorm(Operator):
    """out = (x - mean(x)) / std(x) * weight + bias, row by row: x, out [tokens, hidden], weight, bias [hidden]."""

    tokens: Dim
    hidden: Dim
    dtype: FloatDtype = "bf16"
    eps: float = 1e-5

    category = "norm"
    # A row of one element has no variance: what is left of a large one is the rounding of its scale by 1 / sqrt(eps).
    fuzz = {"hidden": (2, 5000)}
    tolerance = {"out": Tolerance(rtol=2**-7, atol=2**-8, rel_l2=3e-3)}
    constants = ("weight", "bias")

    def work(self) -> Work:
        """Read x, weight and bias, write out; mean, deviation, its square and sum, scale, weight and bias: 7TH."""
        row = nbytes(self.dtype, self.hidden)
        return Work(
            read=self.tokens * row + 2 * row,
            written=self.tokens * row,
            flop={"fp32": 7 * self.tokens * self.hidden},
        )

    def inputs(self, new: New) -> Inputs:
        return {
            "x": new.normal((self.tokens, self.hidden), self.dtype),
            "weight": new.normal((self.hidden,), self.dtype),
            "bias": new.normal((self.hidden,), self.dtype),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.hidden), dtype=self.dtype)}

    def reference(self, x: "Tensor", weight: "Tensor", bias: "Tensor") -> "Tensor":
        """The variance divides by the width, not by the width less one."""
        wide_weight, wide_bias = weight.double(), bias.double()

        def normalised(rows: "Tensor") -> "Tensor":
            centred = rows.double()
            centred = centred - centred.mean(-1, keepdim=True)
            scale = (centred.square().mean(-1, keepdim=True) + self.eps).rsqrt()
            return centred * scale * wide_weight + wide_bias

        return by_rows(normalised, x)
