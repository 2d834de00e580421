"""fp8_blockscale_fused_moe: fused_moe on fp8 codes, with a scale per token and group, and per block of the weights."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, Fp8Dtype, nbytes
from ..work import Work
from ._moe import drawn_ids, drawn_weights, misrouted, mixture
from ._routing import active
from .block_scaled_mm import dequantised

if TYPE_CHECKING:
    from torch import Tensor


class Fp8BlockscaleFusedMoe(Operator):
    """fused_moe of hidden_states * a_scale, w1 * fc1_scale and w2 * fc2_scale, the scales spread over their groups and blocks.

    hidden_states fp8 [tokens, hidden], a_scale fp32 [tokens, hidden / group]; w1 fp8 [experts, 2 * intermediate, hidden], gate
    rows first; w2 fp8 [experts, hidden, intermediate]; fc1_scale, fc2_scale fp32, one per group x group of w1 and w2;
    topk_weights fp32, topk_ids int32 [tokens, top_k], ids distinct in every row; out [tokens, hidden].
    """

    tokens: Dim
    hidden: Dim
    #: width of each expert, half the rows of its w1
    intermediate: Dim
    experts: Dim
    top_k: Dim
    group: Dim = 128
    #: fp8_e4m3 reaches 448, fp8_e4m3fnuz (CDNA3) 240
    fp8: Fp8Dtype = "fp8_e4m3"
    out_dtype: FloatDtype = "bf16"

    category = "moe"
    constants = ("w1", "fc1_scale", "w2", "fc2_scale")
    fuzz = {
        "experts": (1, 12),
        "top_k": "= 1 + _others % experts",
        "_others": (0, 9),
        "group": [128, 64, 32],
        "hidden": "= _groups * group",
        "_groups": (1, 4),
        "intermediate": "= _wide * group",
        "_wide": (1, 3),
    }
    # Production kernels quantise silu(gate) * up to fp8 again, group by group, which alone is about 2.2e-2; those that do not
    # meet 1e-2. torch does not, and is no measure for them.
    tolerance = {"out": Tolerance(rtol=1e-2, rms=3e-1, rel_l2=4e-2, peer=False)}
    # As in fused_moe, a huge channel leaves tokens of sizes that no one bound fits.
    edges = ("zeros",)

    def contradiction(self) -> str | None:
        for size in ("hidden", "intermediate"):
            if getattr(self, size) % self.group:
                return f"{size} = {getattr(self, size)} is no multiple of group = {self.group}"
        return misrouted(self.experts, self.top_k)

    def work(self) -> Work:
        """Read tokens, routing and the experts that have a token, codes and scales, write out; 6TkHI on the fp8 unit."""
        routed = self.tokens * self.top_k
        expert = 3 * self.hidden * self.intermediate
        weights = nbytes(self.fp8, expert) + nbytes("fp32", expert // self.group**2)
        row = nbytes(self.fp8, self.hidden) + nbytes("fp32", self.hidden // self.group)
        return Work(
            read=self.tokens * row + 8 * routed + active(self.tokens, self.experts, self.top_k) * weights,
            written=self.tokens * nbytes(self.out_dtype, self.hidden),
            flop={"fp8": 2 * routed * expert},
        )

    def inputs(self, new: New) -> Inputs:
        """Gates of size 1, where silu is no straight line."""
        gate_up, down = (self.experts, 2 * self.intermediate, self.hidden), (self.experts, self.hidden, self.intermediate)
        hidden_states, a_scale = new.quantised((self.tokens, self.hidden), self.fp8, (1, self.group))
        w1, fc1_scale = new.quantised(gate_up, self.fp8, (self.group, self.group))
        w2, fc2_scale = new.quantised(down, self.fp8, (self.group, self.group))
        return {
            "hidden_states": hidden_states,
            "a_scale": a_scale,
            "w1": w1,
            "fc1_scale": fc1_scale.mul_(self.hidden**-0.5),
            "w2": w2,
            "fc2_scale": fc2_scale.mul_(self.intermediate**-0.5),
            "topk_weights": drawn_weights(new, self.tokens, self.top_k),
            "topk_ids": drawn_ids(new, self.tokens, self.experts, self.top_k),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.hidden), dtype=self.out_dtype)}

    def reference(
        self,
        hidden_states: "Tensor",
        a_scale: "Tensor",
        w1: "Tensor",
        fc1_scale: "Tensor",
        w2: "Tensor",
        fc2_scale: "Tensor",
        topk_weights: "Tensor",
        topk_ids: "Tensor",
    ) -> "Tensor":
        """In fp32, with nothing rounded or quantised in between."""

        def weights(expert: int) -> tuple["Tensor", "Tensor"]:
            return dequantised(w1[expert], fc1_scale[expert]), dequantised(w2[expert], fc2_scale[expert])

        return mixture((hidden_states, a_scale), dequantised, topk_weights, topk_ids, self.experts, weights)
