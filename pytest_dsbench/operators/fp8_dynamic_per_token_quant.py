"""fp8_dynamic_per_token_quant: activations on their way into an fp8 product, one scale per row."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, Fp8Dtype, nbytes
from ..work import Work
from ._fp8 import encoding
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor

#: A row of zeros still has a scale to divide by.
_SMALLEST = 1e-12
#: From this many scales on, the share of codes that two right roundings disagree on is an average.
_MANY_ROWS = 32


class Fp8DynamicPerTokenQuant(Operator):
    """scale = max|x| / largest code and q = x / scale as fp8, row by row: x [tokens, hidden], q as x, scale fp32 [tokens]."""

    tokens: Dim
    hidden: Dim
    dtype: FloatDtype = "bf16"
    #: fp8_e4m3 reaches 448, fp8_e4m3fnuz (CDNA3) 240
    fp8: Fp8Dtype = "fp8_e4m3"

    category = "quant"
    fuzz = {"hidden": (1, 5000)}

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Multiplying by the reciprocal of the scale and dividing by it round a few elements to neighbouring codes: 0.04 % of
        many rows, but up to 2.5 % of a single one whose scale happens to round badly."""
        return {"q": Tolerance(codes_off=0.005 if self.tokens >= _MANY_ROWS else 0.03), "scale": Tolerance(rtol=1e-6)}

    def work(self) -> Work:
        """Read x, write codes and scales; a product per element and a division per row: T(H + 1)."""
        return Work(
            read=self.tokens * nbytes(self.dtype, self.hidden),
            written=self.tokens * nbytes(self.fp8, self.hidden) + self.tokens * nbytes("fp32", 1),
            flop={"fp32": self.tokens * (self.hidden + 1)},
        )

    def inputs(self, new: New) -> Inputs:
        return {"x": new.normal((self.tokens, self.hidden), self.dtype)}

    def outputs(self) -> dict[str, Spec]:
        return {
            "q": Spec(shape=(self.tokens, self.hidden), dtype=self.fp8),
            "scale": Spec(shape=(self.tokens,), dtype="fp32"),
        }

    def reference(self, x: "Tensor") -> tuple["Tensor", "Tensor"]:
        """In fp32 and by the reciprocal, as the kernels do it: on exact ties fp64 would round half of them the other way."""
        import torch

        dtype = encoding(self.fp8)
        largest = torch.finfo(dtype).max

        def scales(rows: "Tensor") -> "Tensor":
            return rows.abs().amax(-1).float().clamp_min(_SMALLEST) / largest

        def codes(rows: "Tensor") -> "Tensor":
            by_reciprocal = rows.float() * scales(rows).reciprocal()[:, None]
            return by_reciprocal.clamp(-largest, largest).to(dtype)

        return by_rows(codes, x), by_rows(scales, x)
