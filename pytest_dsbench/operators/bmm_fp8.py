"""bmm_fp8: one fp8 product per head, as where latent attention absorbs its projections."""

from typing import TYPE_CHECKING, Literal

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import Fp8Dtype, nbytes
from ..work import Work
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class BmmFp8(Operator):
    """out[i] = (a_scale a[i]) (b_scale b[i])^T, accumulated in fp32.

    a fp8 [batch, m, k], b fp8 [batch, n, k], a_scale, b_scale fp32 [1], out [batch, m, n].
    """

    batch: Dim
    m: Dim
    n: Dim
    k: Dim
    out_dtype: Literal["bf16", "fp16"] = "bf16"
    #: fp8_e4m3 reaches 448, fp8_e4m3fnuz (CDNA3) 240
    fp8: Fp8Dtype = "fp8_e4m3"

    category = "gemm"
    constants = ("b", "b_scale")
    fuzz = {"batch": (1, 12)}

    #: as of block_scaled_mm: the sums of Hopper's fp8 unit keep 14 bits, and the output is rounded to 16
    tolerance = {"out": Tolerance(rtol=1e-2, rms=1e-2, rel_l2=4e-3)}

    def work(self) -> Work:
        """Read both operands and their two scales, write out; 2MNK per product on the fp8 unit."""
        return Work(
            read=self.batch * (self.m + self.n) * self.k + 8,
            written=self.batch * self.m * nbytes(self.out_dtype, self.n),
            flop={"fp8": 2 * self.batch * self.m * self.n * self.k},
        )

    def inputs(self, new: New) -> Inputs:
        """b is as large as a weight is, so that an fp16 output does not overflow."""
        a, a_scale = self._quantised(new, self.m)
        b, b_scale = self._quantised(new, self.n)
        return {"a": a, "b": b, "a_scale": a_scale, "b_scale": b_scale.mul_(self.k**-0.5)}

    def _quantised(self, new: New, rows: int) -> tuple["Tensor", "Tensor"]:
        """Codes [batch, rows, k], all of them with one scale [1]."""
        codes, scale = new.quantised((self.batch * rows, self.k), self.fp8, (self.batch * rows, self.k))
        return codes.view(self.batch, rows, self.k), scale.view(1)

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.batch, self.m, self.n), dtype=self.out_dtype)}

    def reference(self, a: "Tensor", b: "Tensor", a_scale: "Tensor", b_scale: "Tensor") -> "Tensor":
        """In fp32: the products of the codes, then both scales."""
        return by_rows(lambda some, weights: some.float() @ weights.float().mT * (a_scale * b_scale), a, b)
