"""moe_sum_reduce: the last step of an MoE layer, the sum of what the experts of every token gave."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class MoeSumReduce(Operator):
    """out[t] = scale * sum over j of expert_outputs[t, j]: expert_outputs [tokens, top_k, hidden], out [tokens, hidden]."""

    tokens: Dim
    top_k: Dim
    hidden: Dim
    #: factor of all routed experts, as some models have one
    scale: float = 1.0
    dtype: FloatDtype = "bf16"

    category = "routing"
    fuzz = {"top_k": (1, 16), "hidden": (1, 3000), "scale": [1.0, 2.5]}

    @property
    def tolerance(self) -> dict[str, Tolerance]:  # type: ignore[override]
        """One rounding of an fp32 sum."""
        return {"out": rounded_once(self.dtype)}

    def work(self) -> Work:
        """Read every expert's output, write the sum; an addition or the scaling for each element read: TkH."""
        row = nbytes(self.dtype, self.hidden)
        return Work(
            read=self.tokens * self.top_k * row,
            written=self.tokens * row,
            flop={"fp32": self.tokens * self.top_k * self.hidden},
        )

    def inputs(self, new: New) -> Inputs:
        return {"expert_outputs": new.normal((self.tokens, self.top_k, self.hidden), self.dtype, std=0.02)}

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.hidden), dtype=self.dtype)}

    def reference(self, expert_outputs: "Tensor") -> "Tensor":
        return by_rows(lambda some: some.double().sum(1) * self.scale, expert_outputs)


def rounded_once(dtype: FloatDtype) -> Tolerance:
    """Of sums over the experts of a token made in fp32: one that is rounded term by term is off by more."""
    bf16 = dtype == "bf16"
    return Tolerance(rtol=2**-8 if bf16 else 2**-11, atol=1e-5, rel_l2=3e-3 if bf16 else 4e-4)
