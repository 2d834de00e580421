"""rope_inplace: rotary embedding from a table, written over queries and keys."""

from typing import TYPE_CHECKING, Literal

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import nbytes
from ..work import Work
from ._rope import distinct, rotated, table
from ._rows import by_rows
from ._ulp import ULP

if TYPE_CHECKING:
    from torch import Tensor


class RopeInplace(Operator):
    """Every query and key head turned by the angles of its token: columns 2i and 2i + 1, or i and i + head_dim / 2 where neox.

    query [tokens, q_heads * head_dim], key [tokens, kv_heads * head_dim], both also the outputs; positions int64 [tokens];
    cos_sin_cache fp32 [max_positions, head_dim], in every row the cosines, then the sines.
    """

    tokens: Dim
    q_heads: Dim
    #: 1 in DeepSeek's latent attention, where all heads share what is rotated of the keys
    kv_heads: Dim = 1
    head_dim: Dim = 64
    #: rows of the table
    max_positions: Dim = 4096
    neox: bool = False
    dtype: Literal["bf16", "fp16"] = "bf16"

    category = "rope"
    fuzz = {"q_heads": (1, 16), "kv_heads": [1, 2, 5], "head_dim": [64, 128, 32]}
    constants = ("cos_sin_cache",)

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """One unit in the last place: fp32 arithmetic and a single rounding."""
        return {name: Tolerance(rtol=ULP[self.dtype], atol=1e-5) for name in ("query", "key")}

    def contradiction(self) -> str | None:
        return f"head_dim = {self.head_dim} is odd; columns turn in pairs" if self.head_dim % 2 else None

    def work(self) -> Work:
        """Read and write query and key, read positions and the rows of the table that they name, which differ as long as there
        are enough; two products and a sum per element: 3T(Hq + Hk)D."""
        turned = self.tokens * (self.q_heads + self.kv_heads) * self.head_dim
        rows = min(self.tokens, self.max_positions)
        return Work(
            read=nbytes(self.dtype, turned) + nbytes("int64", self.tokens) + nbytes("fp32", rows * self.head_dim),
            written=nbytes(self.dtype, turned),
            flop={"fp32": 3 * turned},
        )

    def inputs(self, new: New) -> Inputs:
        return {
            "query": new.normal((self.tokens, self.q_heads * self.head_dim), self.dtype),
            "key": new.normal((self.tokens, self.kv_heads * self.head_dim), self.dtype),
            "positions": distinct(new, self.tokens, self.max_positions, "int64"),
            "cos_sin_cache": table(new, self.max_positions, self.head_dim),
        }

    def outputs(self) -> dict[str, Spec]:
        return {
            "query": Spec(shape=(self.tokens, self.q_heads * self.head_dim), dtype=self.dtype),
            "key": Spec(shape=(self.tokens, self.kv_heads * self.head_dim), dtype=self.dtype),
        }

    def reference(
        self, query: "Tensor", key: "Tensor", positions: "Tensor", cos_sin_cache: "Tensor"
    ) -> tuple["Tensor", "Tensor"]:
        cos, sin = cos_sin_cache[positions.long()].chunk(2, -1)

        def turned(rows: "Tensor", some_cos: "Tensor", some_sin: "Tensor") -> "Tensor":
            return rotated(rows.view(len(rows), -1, self.head_dim), some_cos, some_sin, self.neox).flatten(1)

        return by_rows(turned, query, cos, sin), by_rows(turned, key, cos, sin)
