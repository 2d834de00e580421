"""dsv3_router_gemm: the logits of DeepSeek's router, a product of few columns."""

from typing import TYPE_CHECKING, Literal

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import nbytes
from ..work import Work
from ._products import ROUNDED, product

if TYPE_CHECKING:
    from torch import Tensor


class Dsv3RouterGemm(Operator):
    """out = hidden_states router_weights^T, accumulated in fp32.

    hidden_states bf16 [tokens, hidden], router_weights bf16 [experts, hidden], out [tokens, experts].
    """

    tokens: Dim
    hidden: Dim = 7168
    experts: Dim = 256
    #: fp32 keeps logits apart that are one in bf16
    out_dtype: Literal["bf16", "fp32"] = "fp32"

    category = "gemm"
    constants = ("router_weights",)
    fuzz = {"hidden": (1, 600), "experts": (1, 300)}

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """Logits asked for in fp32 may not have been rounded to bf16."""
        return {"out": ROUNDED[self.out_dtype]}

    def work(self) -> Work:
        """Read the tokens and the weights, write out; 2THE on the bf16 unit."""
        return Work(
            read=2 * (self.tokens + self.experts) * self.hidden,
            written=nbytes(self.out_dtype, self.tokens * self.experts),
            flop={"bf16": 2 * self.tokens * self.hidden * self.experts},
        )

    def inputs(self, new: New) -> Inputs:
        return {
            "hidden_states": new.normal((self.tokens, self.hidden), "bf16"),
            "router_weights": new.normal((self.experts, self.hidden), "bf16", std=self.hidden**-0.5),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.experts), dtype=self.out_dtype)}

    def reference(self, hidden_states: "Tensor", router_weights: "Tensor") -> "Tensor":
        """In fp32."""
        return product(hidden_states, router_weights)
