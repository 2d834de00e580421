"""matmul: a dense projection of a model, the product that every matrix library has."""

from typing import TYPE_CHECKING, Literal

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import matrix_unit, nbytes
from ..work import Work
from ._products import ROUNDED, product

if TYPE_CHECKING:
    from torch import Tensor


class Matmul(Operator):
    """out = a weight^T, accumulated in fp32: a [m, k], weight [n, k] as models hold it, out [m, n]."""

    m: Dim
    n: Dim
    k: Dim
    dtype: Literal["bf16", "fp16"] = "bf16"

    category = "gemm"
    constants = ("weight",)
    fuzz = {"k": (1, 600)}

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """One rounding of an fp32 sum."""
        return {"out": ROUNDED[self.dtype]}

    def work(self) -> Work:
        """Read both operands, write out; 2MNK on the dtype's unit."""
        return Work(
            read=nbytes(self.dtype, (self.m + self.n) * self.k),
            written=nbytes(self.dtype, self.m * self.n),
            flop={matrix_unit(self.dtype): 2 * self.m * self.n * self.k},
        )

    def inputs(self, new: New) -> Inputs:
        return {
            "a": new.normal((self.m, self.k), self.dtype),
            "weight": new.normal((self.n, self.k), self.dtype, std=self.k**-0.5),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.m, self.n), dtype=self.dtype)}

    def reference(self, a: "Tensor", weight: "Tensor") -> "Tensor":
        """In fp32."""
        return product(a, weight)
