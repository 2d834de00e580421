"""scaled_fp4_experts_quant: the rows of every expert to NVFP4, with the global scale of their expert."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import nbytes
from ..work import Work
from ._moe import misrouted
from ._nvfp4 import (
    BLOCK,
    LARGEST_SCALE,
    WHOLE,
    HalfDtype,
    block_scales,
    decoded,
    e2m1,
    factors,
    in_blocks,
    pack,
    padded,
    quantise,
    scale_bytes,
    unaligned,
)
from ._nvfp4_experts import drawn_offsets, grouped_scales, owners, row_scales, scale_rows
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor

#: How far, relatively, a right kernel may be off before it rounds: reciprocals are approximate, to some units of fp32.
_SLACK = 2.0**-20


class ScaledFp4ExpertsQuant(Operator):
    """scale = e4m3(g * max|x| / 6) per 16 of a row, code = e2m1(x * g / scale), g the global scale of the row's expert.

    input [tokens * top_k, hidden], grouped by expert; input_global_scale fp32 [experts]; expert_offsets int32 [experts + 1],
    where the rows of each expert begin; blockscale_offsets int32 [experts + 1], where their scales begin, a multiple of 128.
    codes uint8 [tokens * top_k, hidden / 2], the first of two in the low half; scales e4m3, every expert's swizzled 128 x 4 from
    its own row on; their padding may hold anything.
    """

    tokens: Dim
    experts: Dim
    top_k: Dim
    hidden: Dim
    dtype: HalfDtype = "bf16"

    category = "quant"
    fuzz = {
        "experts": (1, 12),
        "top_k": "= 1 + _others % experts",
        "_others": (0, 9),
        "hidden": "= 16 * _blocks",
        "_blocks": (1, 12),
    }
    tolerance = {"codes": Tolerance(judged=True), "scales": Tolerance(judged=True)}

    def contradiction(self) -> str | None:
        return unaligned(BLOCK, hidden=self.hidden) or misrouted(self.experts, self.top_k)

    @property
    def rows(self) -> int:
        """Rows of all experts together."""
        return self.tokens * self.top_k

    def work(self) -> Work:
        """Read rows, global scales and offsets, write codes and scales; a product per element and the scale of each block."""
        elements = self.rows * self.hidden
        return Work(
            read=nbytes(self.dtype, elements) + nbytes("fp32", self.experts) + 2 * nbytes("int32", self.experts + 1),
            written=nbytes("fp4_e2m1", elements) + scale_bytes(self.rows, self.hidden),
            flop={"fp32": elements + elements // BLOCK},
        )

    def inputs(self, new: New) -> Inputs:
        """Experts with rows of unlike size, each with the global scale that its largest value asks for."""
        counts, begins, tiles = drawn_offsets(new, self.tokens, self.experts, self.top_k)
        rows = new.normal((self.rows, self.hidden), self.dtype)
        mine = counts.new_tensor(range(self.experts)).repeat_interleave(counts.long(), output_size=self.rows).long()
        rows.mul_(new.uniform((self.experts,), "fp32", 0.5, 2.0)[mine, None].to(rows.dtype))
        whole = new.uniform((self.experts,), "fp32").zero_()
        whole.scatter_reduce_(0, mine, rows.abs().amax(-1).float(), "amax")
        # Where there is nothing to scale, as if the largest were 1.
        whole.masked_fill_(whole == 0, 1.0).reciprocal_().mul_(WHOLE)
        return {"input": rows, "input_global_scale": whole, "expert_offsets": begins, "blockscale_offsets": tiles}

    def outputs(self) -> dict[str, Spec]:
        """As many rows of scales as all experts' whole tiles have."""
        total = scale_rows(self.tokens, self.experts, self.top_k)
        return {
            "codes": Spec(shape=(self.rows, self.hidden // 2), dtype="uint8"),
            "scales": Spec(shape=(total, padded(total, self.hidden // BLOCK)[1]), dtype="fp8_e4m3"),
        }

    def reference(
        self,
        input: "Tensor",  # noqa: A002
        input_global_scale: "Tensor",
        expert_offsets: "Tensor",
        blockscale_offsets: "Tensor",
    ) -> tuple["Tensor", "Tensor"]:
        """In fp32; the padding of the scales holds zeros."""
        whole = input_global_scale[owners(self.rows, expert_offsets), None]
        codes = by_rows(lambda rows, g: quantise(rows, g)[0], input, whole)
        scales = by_rows(lambda rows, g: quantise(rows, g)[1], input, whole)
        total = scale_rows(self.tokens, self.experts, self.top_k)
        return codes, grouped_scales(scales, total, expert_offsets, blockscale_offsets)

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Every scale must be one that fp32 can come to, and every code right for the scale that the kernel itself gives."""
        offsets = inputs["expert_offsets"], inputs["blockscale_offsets"]
        whole = inputs["input_global_scale"][owners(self.rows, offsets[0]), None]
        scales = row_scales(got["scales"], self.rows, self.hidden, *offsets)
        right = inputs["input"], whole
        wrong = by_rows(lambda rows, g, its: _misscaled(rows, g, its)[0].any(-1), *right, scales)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            off, low, high = _misscaled(*(values[row : row + 1] for values in (*right, scales)))
            block = int(off[0].nonzero()[0])
            is_, least, most = (float(values[0, block]) for values in (scales, low, high))
            return f"the scale of block {block} of row {row} is {is_:g}; expected {_range(least, most)}"
        wrong = by_rows(lambda *some: _miscoded(*some)[0].any(-1), *right, scales, got["codes"])
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            off, low, high = _miscoded(*(values[row : row + 1] for values in (*right, scales, got["codes"])))
            column = int(off[0].nonzero()[0])
            is_, least, most = (float(values[0, column]) for values in (decoded(got["codes"][row : row + 1]), low, high))
            return f"the code of element {column} of row {row} is {is_:g}; expected {_range(least, most)} with its scale"
        return None


def _misscaled(rows: "Tensor", whole: "Tensor", scales: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
    """Where scales are wrong, and the least and the most that each may be."""
    right = block_scales(in_blocks(rows.float()), whole)
    low, high = ((right * (1 + off)).clamp(max=LARGEST_SCALE).to(scales.dtype).float() for off in (-_SLACK, _SLACK))
    # Written so that a NaN is wrong too.
    return ~((scales.float() >= low) & (scales.float() <= high)), low, high


def _miscoded(rows: "Tensor", whole: "Tensor", scales: "Tensor", codes: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
    """Where codes are wrong with these scales, and the least and the most that the value of each may be."""
    right = rows.float() * factors(scales, whole).repeat_interleave(BLOCK, -1)
    low, high = (decoded(pack(e2m1(right + off * right.abs()))) for off in (-_SLACK, _SLACK))
    values = decoded(codes)
    return (values < low) | (values > high), low, high


def _range(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
