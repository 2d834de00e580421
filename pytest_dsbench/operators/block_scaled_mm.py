"""block_scaled_mm: the fp8 product of DeepSeek-style models, with a scale per token and K block, and per weight block."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, Fp8Dtype, nbytes
from ..work import Work
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class BlockScaledMm(Operator):
    """out = (a * a_scales) (b * b_scales)^T, the scales spread over their blocks, accumulated in fp32.

    a fp8 [m, k], b fp8 [n, k], a_scales fp32 [m, k / group_k], b_scales fp32 [n / group_n, k / group_k], out [m, n]. The last
    block of b may be cut, as in DeepSeek's fused projection of n = 2112.
    """

    m: Dim
    n: Dim
    k: Dim
    group_n: Dim = 128
    group_k: Dim = 128
    out_dtype: FloatDtype = "fp32"
    #: fp8_e4m3 reaches 448, fp8_e4m3fnuz (CDNA3) 240
    fp8: Fp8Dtype = "fp8_e4m3"

    category = "gemm"
    constants = ("b", "b_scales")
    fuzz = {
        "n": (1, 512),
        "k": "= _k_groups * group_k",
        "_k_groups": (1, 6),
        "group_n": [128, 32, 1],
        "group_k": [128, 64],
    }

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Rounding the output to 16 bits is most of the error where that is asked for."""
        return {"out": Tolerance(rtol=1e-2, rms=1e-2, rel_l2=2e-3 if self.out_dtype == "fp32" else 4e-3)}

    def contradiction(self) -> str | None:
        return f"k = {self.k} is no multiple of group_k = {self.group_k}" if self.k % self.group_k else None

    def work(self) -> Work:
        """Read both operands and their scales, write out; 2MNK on the fp8 unit: scaling partial sums is below 2 % of that."""
        k_blocks, n_blocks = self.k // self.group_k, -(-self.n // self.group_n)
        return Work(
            read=self.m * self.k + self.n * self.k + 4 * self.m * k_blocks + 4 * n_blocks * k_blocks,
            written=self.m * nbytes(self.out_dtype, self.n),
            flop={"fp8": 2 * self.m * self.n * self.k},
        )

    def inputs(self, new: New) -> Inputs:
        a, a_scales = new.quantised((self.m, self.k), self.fp8, (1, self.group_k))
        b, b_scales = new.quantised((self.n, self.k), self.fp8, (self.group_n, self.group_k))
        return {"a": a, "b": b, "a_scales": a_scales, "b_scales": b_scales}

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.m, self.n), dtype=self.out_dtype)}

    def reference(self, a: "Tensor", b: "Tensor", a_scales: "Tensor", b_scales: "Tensor") -> "Tensor":
        """In fp32: codes times scales first, then one product."""
        weight = dequantised(b, b_scales, self.group_n).T
        return by_rows(lambda codes, scales: dequantised(codes, scales) @ weight, a, a_scales)


def dequantised(codes: "Tensor", scales: "Tensor", height: int | None = None) -> "Tensor":
    """codes * scales in fp32, every scale spread over its block: codes [rows, columns], scales [row blocks, column blocks].

    `height`: rows of a block, where the last one may be cut.
    """
    (rows, columns), (down, across) = codes.shape, scales.shape
    spread = scales.repeat_interleave(height or rows // down, 0)[:rows]
    return codes.float().view(rows, across, columns // across).mul_(spread[:, :, None]).view(rows, columns)
