"""fused_qkv_rope: the joint output of the qkv projection split, with its bias added, and its queries and keys turned."""

from typing import TYPE_CHECKING

from ..operator import EXACT, Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rope import rotated
from ._rows import by_rows
from ._ulp import ULP

if TYPE_CHECKING:
    from torch import Tensor

#: Positions are drawn below this: were they all 0, nothing would turn.
_POSITIONS = 32768


class FusedQkvRope(Operator):
    """q, k, v out of qkv, plus qkv_bias if there is one; q and k turned, half-split, by positions * base^(-2i / rope_dim).

    qkv [tokens, (q_heads + 2 * kv_heads) * head_dim], in every row q, then k, then v; positions int32 [tokens]; qkv_bias as
    one row of qkv; q [tokens, q_heads, head_dim], k, v [tokens, kv_heads, head_dim]. Columns after rope_dim stay.
    """

    tokens: Dim
    q_heads: Dim
    kv_heads: Dim
    head_dim: Dim = 128
    rope_dim: Dim = 128
    base: float = 10000.0
    bias: bool = False
    dtype: FloatDtype = "fp16"

    category = "rope"
    fuzz = {
        "q_heads": (1, 16),
        "kv_heads": (1, 8),
        "head_dim": [128, 64, 256],
        "rope_dim": "= head_dim // _parts",
        "_parts": [1, 2],
    }

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Two units in the last place, and what an angle in fp32 costs.

        Position 32767 times the second frequency, 0.87, is an angle of 28,000, where fp32 steps by 2^-9: with a rounded
        frequency it is off by 2e-3 as a rule, by 8e-3 after a power that is 4 units off, and an element by that times its
        partner, up to 5 rms: measured are 0.007 to 0.03 rms, 2^-5. The angles of most pairs are far smaller: all together
        the relative error is 3e-4 in fp16, 1.2e-3 after such a power. A wrong pair or position costs over 0.1.
        """
        turned = Tolerance(rtol=2 * ULP[self.dtype], rms=2**-5, rel_l2=4e-3)
        return {"q": turned, "k": turned, "v": EXACT}

    @property
    def constants(self) -> tuple[str, ...]:  # type: ignore[override]
        """A model's bias stays the same; its positions do not."""
        return ("qkv_bias",) if self.bias else ()

    @property
    def columns(self) -> int:
        """Columns of a row of qkv."""
        return (self.q_heads + 2 * self.kv_heads) * self.head_dim

    def contradiction(self) -> str | None:
        if self.rope_dim > self.head_dim:
            return f"rope_dim = {self.rope_dim} is more than head_dim = {self.head_dim}"
        if self.rope_dim % 2:
            return f"rope_dim = {self.rope_dim} is odd; columns turn in pairs"
        return None

    def work(self) -> Work:
        """Read qkv, positions and bias, write q, k and v.

        Two products and a sum per turned element, an angle per token and pair, and the frequencies; a sum for each bias.
        """
        turned = self.tokens * (self.q_heads + self.kv_heads) * self.rope_dim
        size = nbytes(self.dtype, self.tokens * self.columns)
        flop = 3 * turned + self.tokens * self.rope_dim // 2 + self.rope_dim
        return Work(
            read=size + nbytes("int32", self.tokens) + self.bias * nbytes(self.dtype, self.columns),
            written=size,
            flop={"fp32": flop + self.bias * self.tokens * self.columns},
        )

    def inputs(self, new: New) -> Inputs:
        made = {
            "qkv": new.normal((self.tokens, self.columns), self.dtype),
            "positions": new.integers((self.tokens,), "int32", _POSITIONS),
        }
        return made | ({"qkv_bias": new.normal((self.columns,), self.dtype)} if self.bias else {})

    def outputs(self) -> dict[str, Spec]:
        heads = {"q": self.q_heads, "k": self.kv_heads, "v": self.kv_heads}
        return {name: Spec(shape=(self.tokens, count, self.head_dim), dtype=self.dtype) for name, count in heads.items()}

    def reference(
        self, qkv: "Tensor", positions: "Tensor", qkv_bias: "Tensor | None" = None
    ) -> tuple["Tensor", "Tensor", "Tensor"]:
        """Angles and products in fp64; only the sum with the bias is rounded, as v shows it."""
        import torch

        total = qkv if qkv_bias is None else qkv + qkv_bias
        heads = total.view(self.tokens, -1, self.head_dim)
        q, k, v = torch.split(heads, [self.q_heads, self.kv_heads, self.kv_heads], 1)
        steps = torch.arange(0, self.rope_dim, 2, dtype=torch.float64, device=qkv.device) / self.rope_dim
        angles = positions[:, None] * self.base**-steps
        cos, sin = angles.cos(), angles.sin()
        return by_rows(rotated, q, cos, sin), by_rows(rotated, k, cos, sin), v
