"""mrope: rotary embedding of multimodal models, where the pairs of columns share out time, height and width."""

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, Lengths, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rope import rotated
from ._rows import by_rows
from ._ulp import ULP

if TYPE_CHECKING:
    from torch import Tensor

#: Positions and base of the angles that are drawn.
_POSITIONS = 32768
_BASE = 10000.0


class Mrope(Operator):
    """Every q and k head turned, half-split, each pair of columns by the angle of its own axis.

    q [tokens, q_heads * head_dim], k [tokens, kv_heads * head_dim], cos, sin fp32 [axes, tokens, pairs]; outputs as q and k.
    The first sections[0] pairs take axis 0, the next sections[1] axis 1, and so on; pairs = sum(sections), and the columns
    of a head after 2 * pairs stay as they are.
    """

    tokens: Dim
    q_heads: Dim
    kv_heads: Dim
    head_dim: Dim = 128
    sections: Lengths = (16, 24, 24)
    dtype: FloatDtype = "bf16"

    category = "rope"
    fuzz = {"q_heads": (1, 16), "kv_heads": (1, 8), "head_dim": [128, 256], "sections": (1, 10)}

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """One unit in the last place: fp32 arithmetic and a single rounding. In fp32 each product rounds too."""
        return {name: Tolerance(rtol=max(ULP[self.dtype], 2**-20), atol=1e-5) for name in ("q", "k")}

    @property
    def pairs(self) -> int:
        """Pairs of columns that turn."""
        return sum(self.sections)

    def contradiction(self) -> str | None:
        if 2 * self.pairs > self.head_dim:
            return f"sections = {list(self.sections)} turn {2 * self.pairs} columns, more than head_dim = {self.head_dim}"
        return None

    def work(self) -> Work:
        """Of q and k only the columns that turn are read and written: in place the others stay; of cos and sin one axis per
        pair. Two products and a sum per element: 3T(Hq + Hk)r, r = 2 * pairs."""
        turned = self.tokens * (self.q_heads + self.kv_heads) * 2 * self.pairs
        return Work(
            read=nbytes(self.dtype, turned) + 2 * nbytes("fp32", self.tokens * self.pairs),
            written=nbytes(self.dtype, turned),
            flop={"fp32": 3 * turned},
        )

    def inputs(self, new: New) -> Inputs:
        """A token lies anywhere on every axis: taking the wrong one is seen."""
        import torch

        positions = new.integers((len(self.sections), self.tokens), "int32", _POSITIONS)
        steps = torch.arange(self.pairs, dtype=torch.float64, device=positions.device) / self.pairs
        angles = positions[..., None] * _BASE**-steps
        shape = (len(self.sections), self.tokens, self.pairs)
        return {
            "q": new.normal((self.tokens, self.q_heads * self.head_dim), self.dtype),
            "k": new.normal((self.tokens, self.kv_heads * self.head_dim), self.dtype),
            # Drawn only to be overwritten: what is drawn lies between guard bytes.
            "cos": new.uniform(shape, "fp32").copy_(angles.cos()),
            "sin": new.uniform(shape, "fp32").copy_(angles.sin()),
        }

    def outputs(self) -> dict[str, Spec]:
        return {
            "q": Spec(shape=(self.tokens, self.q_heads * self.head_dim), dtype=self.dtype),
            "k": Spec(shape=(self.tokens, self.kv_heads * self.head_dim), dtype=self.dtype),
        }

    def reference(self, q: "Tensor", k: "Tensor", cos: "Tensor", sin: "Tensor") -> tuple["Tensor", "Tensor"]:
        c, s = self.of_each_pair(cos), self.of_each_pair(sin)

        def turned(rows: "Tensor", some_cos: "Tensor", some_sin: "Tensor") -> "Tensor":
            return rotated(rows.view(len(rows), -1, self.head_dim), some_cos, some_sin).flatten(1)

        return by_rows(turned, q, c, s), by_rows(turned, k, c, s)

    def of_each_pair(self, table: "Tensor") -> "Tensor":
        """The value of every pair on its own axis: table [axes, tokens, pairs], the result [tokens, pairs]."""
        import torch

        bounds = pairwise(accumulate(self.sections, initial=0))
        return torch.cat([table[axis, :, first:last] for axis, (first, last) in enumerate(bounds)], -1)
