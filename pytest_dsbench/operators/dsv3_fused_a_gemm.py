"""dsv3_fused_a_gemm: the first projection of DeepSeek's latent attention, of queries, keys and rotary key in one product."""

from typing import TYPE_CHECKING, ClassVar

from ..operator import Dim, Inputs, New, Operator, Spec
from ..work import Work
from ._products import ROUNDED, product

if TYPE_CHECKING:
    from torch import Tensor


class Dsv3FusedAGemm(Operator):
    """out = mat_a weight^T in bf16, accumulated in fp32.

    mat_a [tokens, hidden], weight [columns, hidden] as the model holds it, out [tokens, columns]; the columns are those of the
    latent query (q_lora_rank), of the latent key (kv_lora_rank) and of the rotary key (rope_dim).
    """

    # As the kernel is called: no small letter parts two words of the class.
    name: ClassVar[str] = "dsv3_fused_a_gemm"

    tokens: Dim
    hidden: Dim = 7168
    q_lora_rank: Dim = 1536
    kv_lora_rank: Dim = 512
    rope_dim: Dim = 64

    category = "gemm"
    constants = ("weight",)
    fuzz = {"hidden": (1, 600), "q_lora_rank": (1, 160), "kv_lora_rank": (1, 160), "rope_dim": [64, 32, 1]}
    tolerance = {"out": ROUNDED["bf16"]}

    @property
    def columns(self) -> int:
        """Columns of all three together."""
        return self.q_lora_rank + self.kv_lora_rank + self.rope_dim

    def work(self) -> Work:
        """Read the tokens and the weight, write out; 2THN on the bf16 unit."""
        return Work(
            read=2 * (self.tokens + self.columns) * self.hidden,
            written=2 * self.tokens * self.columns,
            flop={"bf16": 2 * self.tokens * self.hidden * self.columns},
        )

    def inputs(self, new: New) -> Inputs:
        return {
            "mat_a": new.normal((self.tokens, self.hidden), "bf16"),
            "weight": new.normal((self.columns, self.hidden), "bf16", std=self.hidden**-0.5),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.columns), dtype="bf16")}

    def reference(self, mat_a: "Tensor", weight: "Tensor") -> "Tensor":
        """In fp32."""
        return product(mat_a, weight)
