"""per_token_group_quant_fp8: activations on their way into a block-scaled fp8 product, one scale per row and group."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, Fp8Dtype, nbytes
from ..work import Work
from ._fp8 import encoding

if TYPE_CHECKING:
    from torch import Tensor

#: The smallest scale, that of a group of zeros among others.
SMALLEST_SCALE = 1e-10
#: Elements at a time: three fp32 temporaries of it take 96 MiB, and the 6 billion of the largest shape are 754 chunks.
_CHUNK = 2**23


class PerTokenGroupQuantFp8(Operator):
    """scale = max|x| / largest code and q = x / scale as fp8, group by group of every row.

    x, q [tokens, hidden], scale fp32 [tokens, hidden / group].
    """

    tokens: Dim
    hidden: Dim
    group: Dim = 128
    dtype: FloatDtype = "bf16"
    #: fp8_e4m3 reaches 448, fp8_e4m3fnuz (CDNA3) 240
    fp8: Fp8Dtype = "fp8_e4m3"

    category = "quant"
    fuzz = {"hidden": "= _groups * group", "_groups": (1, 40), "group": [128, 64, 32]}

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Dividing by the scale and multiplying by its reciprocal round a few elements to neighbouring codes.

        That is 0.04 % of many groups, but up to 6 % of one whose scale happens to round badly, 0.6 % of 16 of them.
        """
        groups = self.tokens * self.hidden // self.group
        return {"q": Tolerance(codes_off=max(0.005, 0.16 / groups)), "scale": Tolerance(rtol=1e-6)}

    def contradiction(self) -> str | None:
        if self.hidden % self.group:
            return f"hidden = {self.hidden} is no multiple of group = {self.group}"
        return None

    def work(self) -> Work:
        """Read x, write codes and scales; a division per element and one per group: T(H + H / group)."""
        scales = self.tokens * (self.hidden // self.group)
        return Work(
            read=self.tokens * nbytes(self.dtype, self.hidden),
            written=self.tokens * nbytes(self.fp8, self.hidden) + nbytes("fp32", scales),
            flop={"fp32": self.tokens * self.hidden + scales},
        )

    def inputs(self, new: New) -> Inputs:
        return {"x": new.normal((self.tokens, self.hidden), self.dtype)}

    def outputs(self) -> dict[str, Spec]:
        return {
            "q": Spec(shape=(self.tokens, self.hidden), dtype=self.fp8),
            "scale": Spec(shape=(self.tokens, self.hidden // self.group), dtype="fp32"),
        }

    def reference(self, x: "Tensor") -> tuple["Tensor", "Tensor"]:
        """In fp32, where x and its largest magnitude are exact, by division."""
        import torch

        q = torch.empty(x.shape, dtype=encoding(self.fp8), device=x.device)
        scale = torch.empty((self.tokens, self.hidden // self.group), dtype=torch.float32, device=x.device)
        largest = torch.finfo(q.dtype).max
        step = max(1, _CHUNK // self.hidden)
        for rows, codes, scales in zip(*(torch.split(tensor, step) for tensor in (x, q, scale)), strict=True):
            groups = rows.view(len(rows), -1, self.group).float()
            scales.copy_((groups.abs().amax(-1) / largest).clamp_min(SMALLEST_SCALE))
            codes.copy_((groups / scales[..., None]).clamp(-largest, largest).flatten(1))
        return q, scale
