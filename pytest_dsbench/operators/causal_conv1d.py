"""causal_conv1d: the short convolution over time in front of linear attention, channel by channel."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Recipe, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class CausalConv1d(Operator):
    """out[d, t] = silu(bias[d] + sum over j of weight[d, j] y[d, t + j]), y being x behind the inputs before it.

    x, out [channels, tokens], weight [channels, width], bias [channels], initial_state [1, channels, width - 1]: the inputs
    before the first token. The last column of the weight meets the token itself.
    """

    tokens: Dim
    channels: Dim
    width: Dim = 4
    dtype: FloatDtype = "bf16"

    category = "linear_attention"
    # Kernels that round the sum before silu and kernels that round once are both right.
    tolerance = {"out": Tolerance(rtol=2**-7, rms=2**-9, rel_l2=4e-3)}
    constants = ("weight", "bias")
    fuzz = {"tokens": (1, 600), "channels": (8, 200), "width": [4, 2, 3]}

    @property
    def edges(self) -> tuple[Recipe, ...]:  # type: ignore[override]
        """Sums over a channel 1000 times the others may be beyond fp16, and a kernel may round them before silu."""
        return ("zeros",) if self.dtype == "fp16" else ("zeros", "huge_channel")

    def contradiction(self) -> str | None:
        return "width = 1 sees no other token; expected at least 2" if self.width == 1 else None

    def work(self) -> Work:
        """Read x, weight, bias and the inputs before x, write out; W multiply-adds and four operations of silu: TD(2W + 4)."""
        return Work(
            read=nbytes(self.dtype, self.channels * (self.tokens + 2 * self.width)),
            written=nbytes(self.dtype, self.channels * self.tokens),
            flop={"fp32": self.tokens * self.channels * (2 * self.width + 4)},
        )

    def inputs(self, new: New) -> Inputs:
        """Sums of ordinary size, where silu bends."""
        return {
            "x": new.normal((self.channels, self.tokens), self.dtype),
            "weight": new.normal((self.channels, self.width), self.dtype, std=0.5),
            "bias": new.normal((self.channels,), self.dtype, std=0.5),
            "initial_state": new.normal((1, self.channels, self.width - 1), self.dtype),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.channels, self.tokens), dtype=self.dtype)}

    def reference(self, x: "Tensor", weight: "Tensor", bias: "Tensor", initial_state: "Tensor") -> "Tensor":
        return by_rows(self._convolved, x, weight, bias, initial_state[0])

    def _convolved(self, x: "Tensor", weight: "Tensor", bias: "Tensor", before: "Tensor") -> "Tensor":
        """Some channels of the output, in fp64."""
        import torch

        y = torch.cat([before, x], 1).double()
        total = bias.double()[:, None].expand(x.shape)
        for j in range(self.width):
            total = total + weight[:, j : j + 1].double() * y[:, j : j + self.tokens]
        return total * total.sigmoid()
