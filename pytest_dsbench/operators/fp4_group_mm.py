"""fp4_group_mm: the NVFP4 products of all experts, each of its own rows with its own weight."""

from itertools import pairwise
from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec
from ..units import nbytes
from ..work import Work
from ._moe import misrouted
from ._nvfp4 import HalfDtype, linear, scale_bytes, unaligned, widened
from ._nvfp4_experts import drawn_offsets, grouped_scales, row_scales, scale_rows
from ._routing import active
from ._rows import by_rows
from .scaled_fp4_mm import NEAR

if TYPE_CHECKING:
    from torch import Tensor


class Fp4GroupMm(Operator):
    """out = alphas[e] * (a * a_scales) (b[e] * b_scales[e])^T for the rows of every expert e, accumulated in fp32.

    a uint8 [tokens * top_k, k / 2], grouped by expert; b uint8 [experts, n, k / 2]; two e2m1 codes to a byte, the first in the
    low half. a_scales e4m3, every expert's swizzled 128 x 4 from its row of blockscale_offsets on; b_scales e4m3 [experts, n and
    k / 16 in whole tiles], swizzled expert by expert; alphas fp32 [experts]; problem_sizes int32 [experts, 3], (rows, n, k) of
    each; expert_offsets, blockscale_offsets int32 [experts + 1], where its rows and its scales begin; out [tokens * top_k, n].
    """

    tokens: Dim
    experts: Dim
    top_k: Dim
    n: Dim
    k: Dim
    out_dtype: HalfDtype = "bf16"

    category = "gemm"
    constants = ("b", "b_scales")
    fuzz = {
        "experts": (1, 12),
        "top_k": "= 1 + _others % experts",
        "_others": (0, 9),
        "n": "= 32 * _n",
        "_n": (1, 4),
        "k": "= 32 * _k",
        "_k": (1, 4),
    }
    tolerance = {"out": NEAR}

    def contradiction(self) -> str | None:
        return unaligned(32, n=self.n, k=self.k) or misrouted(self.experts, self.top_k)

    @property
    def rows(self) -> int:
        """Rows of all experts together."""
        return self.tokens * self.top_k

    def work(self) -> Work:
        """Read the rows and the experts that have one, scales without padding, sizes and offsets, write out; 2TkNK on fp4."""
        busy = active(self.tokens, self.experts, self.top_k)
        lines = self.rows + busy * self.n
        table = nbytes("int32", 3 * self.experts + 2 * (self.experts + 1))
        return Work(
            read=nbytes("fp4_e2m1", lines * self.k) + scale_bytes(lines, self.k) + nbytes("fp32", busy) + table,
            written=nbytes(self.out_dtype, self.rows * self.n),
            flop={"fp4": 2 * self.rows * self.n * self.k},
        )

    def inputs(self, new: New) -> Inputs:
        """Outputs of size 1; experts differ in their alphas."""
        counts, begins, tiles = drawn_offsets(new, self.tokens, self.experts, self.top_k)
        a, plain, a_whole = new.nvfp4((self.rows, self.k))
        b, b_scales, b_whole = new.nvfp4((self.experts, self.n, self.k), swizzled=True)
        sizes = new.integers((self.experts, 3), "int32", 1)  # below 1: zeros
        sizes[:, 0], sizes[:, 1], sizes[:, 2] = counts, self.n, self.k
        total = scale_rows(self.tokens, self.experts, self.top_k)
        return {
            "a": a,
            "b": b,
            "a_scales": grouped_scales(plain, total, begins, tiles),
            "b_scales": b_scales,
            "alphas": new.uniform((self.experts,), "fp32", 0.5, 2.0).mul_(self.k**-0.5 / (a_whole * b_whole)),
            "problem_sizes": sizes,
            "expert_offsets": begins,
            "blockscale_offsets": tiles,
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.rows, self.n), dtype=self.out_dtype)}

    def reference(
        self,
        a: "Tensor",
        b: "Tensor",
        a_scales: "Tensor",
        b_scales: "Tensor",
        alphas: "Tensor",
        problem_sizes: "Tensor",
        expert_offsets: "Tensor",
        blockscale_offsets: "Tensor",
    ) -> "Tensor":
        """In fp32, one expert at a time: codes times scales first, then one product."""
        plain = row_scales(a_scales, self.rows, self.k, expert_offsets, blockscale_offsets)
        out = alphas.new_empty((self.rows, self.n))
        for expert, (begin, end) in enumerate(pairwise(expert_offsets.tolist())):
            if begin == end:
                continue
            weight = widened(b[expert], linear(b_scales[expert], self.n, self.k)).T

            def product(codes: "Tensor", scales: "Tensor", weight: "Tensor" = weight) -> "Tensor":
                return widened(codes, scales) @ weight

            out[begin:end] = by_rows(product, a[begin:end], plain[begin:end]) * alphas[expert]
        return out
