"""scaled_fp4_mm: the NVFP4 product of DeepSeek-R1-NVFP4, both operands already quantised."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import nbytes
from ..work import Work
from ._nvfp4 import HalfDtype, linear, scale_bytes, unaligned, widened
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor

#: Codes and scales are exact in every kernel: only the order of the sums and the rounding of the output differ.
NEAR = Tolerance(rtol=1e-2, rms=1e-2, rel_l2=4e-3)


class ScaledFp4Mm(Operator):
    """out = alpha * (a * a_scales) (b * b_scales)^T, every scale spread over its 16 codes of a row, accumulated in fp32.

    a uint8 [m, k / 2], b uint8 [n, k / 2], two e2m1 codes to a byte, the first in the low half; a_scales, b_scales e4m3, swizzled
    128 x 4 and padded to whole tiles, as in _nvfp4.swizzle; alpha fp32 [1]; out [m, n].
    """

    m: Dim
    n: Dim
    k: Dim
    out_dtype: HalfDtype = "bf16"

    category = "gemm"
    constants = ("b", "b_scales")
    fuzz = {"n": "= 32 * _n", "_n": (1, 6), "k": "= 32 * _k", "_k": (1, 8)}
    tolerance = {"out": NEAR}

    def contradiction(self) -> str | None:
        return unaligned(32, n=self.n, k=self.k)

    def work(self) -> Work:
        """Read both operands, their scales without padding and alpha, write out; 2MNK on the fp4 unit."""
        rows = self.m + self.n
        return Work(
            read=nbytes("fp4_e2m1", rows * self.k) + scale_bytes(rows, self.k) + nbytes("fp32", 1),
            written=nbytes(self.out_dtype, self.m * self.n),
            flop={"fp4": 2 * self.m * self.n * self.k},
        )

    def inputs(self, new: New) -> Inputs:
        """Weights are of the size that gives outputs of size 1."""
        a, a_scales, a_whole = new.nvfp4((self.m, self.k), swizzled=True)
        b, b_scales, b_whole = new.nvfp4((self.n, self.k), swizzled=True)
        alpha = (a_whole * b_whole).reciprocal_().mul_(self.k**-0.5)
        return {"a": a, "b": b, "a_scales": a_scales, "b_scales": b_scales, "alpha": alpha}

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.m, self.n), dtype=self.out_dtype)}

    def reference(self, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor", alpha: "Tensor") -> "Tensor":
        """In fp32: codes times scales first, then one product."""
        weight = widened(b, linear(b_scales, self.n, self.k)).T
        return by_rows(lambda codes, scales: widened(codes, scales) @ weight * alpha, a, linear(a_scales, self.m, self.k))
