"""fused_rmsnorm_quant: the residual connection, the normalisation after it and its quantisation, in one pass."""

from typing import TYPE_CHECKING

from ..operator import EXACT, Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, Fp8Dtype, nbytes
from ..work import Work
from ._fp8 import encoding
from ._rows import by_rows
from ._ulp import ULP
from .rms_norm import normalised

if TYPE_CHECKING:
    from torch import Tensor


class FusedRmsnormQuant(Operator):
    """r = x + residual, rounded; n = r / rms(r) * weight; scale = max|n| / largest code (1 where n is 0), q = n / scale as fp8.

    x, residual, r [tokens, hidden], weight [hidden], q fp8 as x, scale fp32 [tokens].
    """

    tokens: Dim
    hidden: Dim
    dtype: FloatDtype = "bf16"
    #: fp8_e4m3 reaches 448, fp8_e4m3fnuz (CDNA3) 240
    fp8: Fp8Dtype = "fp8_e4m3"
    eps: float = 1e-5

    category = "quant"
    constants = ("weight",)
    fuzz = {"hidden": (1, 5000)}

    @property
    def slack(self) -> float:
        """How far, relatively, a right kernel's n may be from the unrounded one.

        Kernels keep n in fp32, round it to the dtype, or round the norm and then the product with the weight: half a unit
        in the last place each time. In fp32 it is the order of the sum of squares that differs.
        """
        return max(ULP[self.dtype], 2**-20)

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Codes are judged by `flaw`, each for itself: by the share that differs, kernels with n rounded and unrounded are 2 %
        apart over many rows of bf16 but 12 % in an unlucky one, whose whole scale is off."""
        return {"q": Tolerance(judged=True), "scale": Tolerance(rtol=self.slack), "residual": EXACT}

    def work(self) -> Work:
        """Read x, residual and weight, write codes, scales and r; fused_add_rms_norm's 4H + 1 and quantisation's H + 1."""
        row = nbytes(self.dtype, self.hidden)
        return Work(
            read=2 * self.tokens * row + row,
            written=self.tokens * (nbytes(self.fp8, self.hidden) + nbytes("fp32", 1) + row),
            flop={"fp32": self.tokens * (5 * self.hidden + 2)},
        )

    def inputs(self, new: New) -> Inputs:
        """Both are small, so that eps is 5 % of the mean square of r and dropping it is seen in the scale."""
        return {
            "x": new.normal((self.tokens, self.hidden), self.dtype, std=0.01),
            "residual": new.normal((self.tokens, self.hidden), self.dtype, std=0.01),
            "weight": new.normal((self.hidden,), self.dtype, std=0.1, mean=1.0),
        }

    def outputs(self) -> dict[str, Spec]:
        return {
            "q": Spec(shape=(self.tokens, self.hidden), dtype=self.fp8),
            "scale": Spec(shape=(self.tokens,), dtype="fp32"),
            "residual": Spec(shape=(self.tokens, self.hidden), dtype=self.dtype),
        }

    def reference(self, x: "Tensor", residual: "Tensor", weight: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
        """q is n / scale before it becomes a code, in fp32; only r is rounded."""
        import torch

        largest = torch.finfo(encoding(self.fp8)).max
        total = x + residual

        def scales(rows: "Tensor") -> "Tensor":
            highest = normalised(rows, weight, self.eps).abs().amax(-1)
            return (highest / largest).masked_fill(highest == 0, 1.0)

        def quotients(rows: "Tensor", some: "Tensor") -> "Tensor":
            return (normalised(rows, weight, self.eps) / some[:, None]).float()

        scale = by_rows(scales, total)
        return by_rows(quotients, total, scale), scale, total

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Every code must be that of an n within the slack, divided by the scale that the kernel itself gives."""
        # The same n over a larger scale makes smaller codes.
        ratio = (want["scale"].double() / got["scale"].double()).float()
        wrong = by_rows(lambda *rows: self._outside(*rows).any(-1), got["q"], want["q"], ratio)
        if not bool(wrong.any()):
            return None
        row = int(wrong.nonzero()[0])
        codes, quotients, ratios = (values[row : row + 1] for values in (got["q"], want["q"], ratio))
        column = int(self._outside(codes, quotients, ratios)[0].nonzero()[0])
        low, high = (float(bound[0, column]) for bound in self._bounds(codes, quotients, ratios))
        return (
            f"output 'q' is wrong: {float(codes[0, column]):g} at [{row}, {column}];"
            f" expected {low:g} to {high:g} with the scale that was returned"
        )

    def _outside(self, codes: "Tensor", quotients: "Tensor", ratios: "Tensor") -> "Tensor":
        low, high = self._bounds(codes, quotients, ratios)
        # Written so that a NaN is outside too.
        return ~((codes.float() >= low) & (codes.float() <= high))

    def _bounds(self, codes: "Tensor", quotients: "Tensor", ratios: "Tensor") -> tuple["Tensor", "Tensor"]:
        """The lowest and highest right code of every element, as fp32."""
        import torch

        largest = torch.finfo(codes.dtype).max
        right = quotients * ratios[:, None]
        slack = right.abs() * self.slack
        low, high = ((right + off).clamp(-largest, largest).to(codes.dtype).float() for off in (-slack, slack))
        return low, high
