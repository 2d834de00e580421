"""fp4_block_scale_moe: a whole layer of experts on NVFP4, from the logits of the router to the sum."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import nbytes
from ..work import Work
from ._deepseek_routing import drawn_logits, grouped_topk, misgrouped, touched
from ._nvfp4 import BLOCK, WHOLE, quantise, scale_bytes, unaligned, widened
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor

#: The largest silu(gate) * up that calibration would see where gate and up are normal and millions are drawn.
_REACH = 32.0
#: Share of its own norm that a token may be off: another of its eight experts is half of it, 4 bits otherwise rounded a tenth.
_TOKEN = 0.3


class Fp4BlockScaleMoe(Operator):
    """DeepSeek-V3's routing, then out[t] = sum of w[t, e] * s2[e] * gemm2[e] q, q = nvfp4(silu(g0[e] gate) * s1[e] up).

    (gate, up) = gemm1[e] x[t]; w and e are _deepseek_routing.grouped_topk of routing_logits fp32 [tokens, experts] and
    routing_bias bf16 [experts]. x is hidden_states uint8 [tokens, hidden / 2] times hidden_states_scale [tokens, hidden / 16];
    gemm1_weights uint8 [experts, 2 * intermediate, hidden / 2], gate rows first, gemm2_weights uint8 [experts, hidden,
    intermediate / 2]: two e2m1 codes to a byte, the first in the low half, and linear e4m3 scales per 16 of a row. g0, s1, s2 are
    output1_scale_gate_scalar, output1_scale_scalar and output2_scale_scalar, fp32 [experts]: s1 includes the global scale of q,
    which s2 takes out again. out bf16 [tokens, hidden].
    """

    tokens: Dim
    hidden: Dim
    #: width of each expert, half the rows of its gemm1
    intermediate: Dim
    experts: Dim
    top_k: Dim
    #: experts come in so many groups of neighbours, of which kept_groups are chosen from
    groups: Dim
    kept_groups: Dim
    scaling: float = 2.5

    category = "moe"
    constants = ("gemm1_weights", "gemm1_weights_scale", "gemm2_weights", "gemm2_weights_scale")
    # Of narrow tokens and experts few terms decide the size of an output.
    fuzz = {
        "groups": [1, 2, 4],
        "experts": "= groups * _size",
        "_size": (1, 6),
        "kept_groups": "= 1 + _kept % groups",
        "_kept": (0, 3),
        "top_k": "= kept_groups * (1 + _each % _size)",
        "_each": (0, 5),
        "hidden": "= 16 * _wide",
        "_wide": (4, 10),
        "intermediate": "= 16 * _deep",
        "_deep": (3, 8),
    }
    # The activation is rounded to 4 bits between the products: a kernel whose fp32 sums run in another order, or that rounds
    # them to bf16 first, puts some of it on the neighbouring code, or a block of it under the neighbouring scale; a token that
    # is larger than most is off by more. `flaw` has the bound on tokens that binds. What torch does on a CPU is no measure.
    tolerance = {"out": Tolerance(rtol=1e-2, rms=2.0, rel_l2=1e-1, peer=False)}
    # A channel 1000 times the others leaves tokens of such different sizes that no one bound fits.
    edges = ("zeros",)

    def contradiction(self) -> str | None:
        return unaligned(BLOCK, hidden=self.hidden, intermediate=self.intermediate) or misgrouped(
            self.experts, self.groups, self.kept_groups, self.top_k
        )

    @property
    def busy(self) -> int:
        """Experts that get a token, in every content."""
        return touched(self.tokens, self.experts, self.groups, self.kept_groups, self.top_k)

    def work(self) -> Work:
        """Read tokens, logits, bias and the experts that have a token, write out; 6TkHI on the fp4 unit."""
        expert = 3 * self.hidden * self.intermediate
        elements = self.tokens * self.hidden + self.busy * expert
        routing = nbytes("fp32", self.tokens * self.experts) + nbytes("bf16", self.experts)
        return Work(
            read=nbytes("fp4_e2m1", elements) + scale_bytes(1, elements) + routing + 3 * nbytes("fp32", self.busy),
            written=nbytes("bf16", self.tokens * self.hidden),
            flop={"fp4": 2 * self.tokens * self.top_k * expert},
        )

    def inputs(self, new: New) -> Inputs:
        """Gates of size 1, where silu is no straight line; the routing has one clear answer. Experts differ in their scales."""
        logits, bias = drawn_logits(new, self.tokens, self.experts, self.groups, self.kept_groups, self.top_k)
        x, x_scale, x_whole = new.nvfp4((self.tokens, self.hidden))
        w1, w1_scale, w1_whole = new.nvfp4((self.experts, 2 * self.intermediate, self.hidden))
        w2, w2_scale, w2_whole = new.nvfp4((self.experts, self.hidden, self.intermediate))
        gate = new.uniform((self.experts,), "fp32", 0.7, 1.4).mul_(self.hidden**-0.5 / (x_whole * w1_whole))
        between = WHOLE / _REACH
        return {
            "routing_logits": logits,
            "routing_bias": bias,
            "hidden_states": x,
            "hidden_states_scale": x_scale,
            "gemm1_weights": w1,
            "gemm1_weights_scale": w1_scale,
            "gemm2_weights": w2,
            "gemm2_weights_scale": w2_scale,
            "output1_scale_scalar": gate * between,
            "output1_scale_gate_scalar": gate,
            "output2_scale_scalar": new.uniform((self.experts,), "fp32", 0.7, 1.4).mul_(
                self.intermediate**-0.5 / (between * w2_whole)
            ),
        }

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.hidden), dtype="bf16")}

    def reference(
        self,
        routing_logits: "Tensor",
        routing_bias: "Tensor",
        hidden_states: "Tensor",
        hidden_states_scale: "Tensor",
        gemm1_weights: "Tensor",
        gemm1_weights_scale: "Tensor",
        gemm2_weights: "Tensor",
        gemm2_weights_scale: "Tensor",
        output1_scale_scalar: "Tensor",
        output1_scale_gate_scalar: "Tensor",
        output2_scale_scalar: "Tensor",
    ) -> "Tensor":
        """In fp32 but for the activation, which is quantised between the products; one expert at a time."""
        import torch

        weights, ids = grouped_topk(routing_logits, routing_bias, self.groups, self.kept_groups, self.top_k, self.scaling)
        out = torch.zeros((self.tokens, self.hidden), dtype=torch.float32, device=weights.device)
        for expert in range(self.experts):
            tokens, slots = (ids == expert).nonzero(as_tuple=True)
            if not len(tokens):
                continue
            gate_up = widened(gemm1_weights[expert], gemm1_weights_scale[expert]).T
            down = widened(gemm2_weights[expert], gemm2_weights_scale[expert]).T * output2_scale_scalar[expert]
            scales = output1_scale_gate_scalar[expert], output1_scale_scalar[expert]

            def mlp(
                share: "Tensor",
                codes: "Tensor",
                its: "Tensor",
                gate_up: "Tensor" = gate_up,
                down: "Tensor" = down,
                scales: tuple["Tensor", "Tensor"] = scales,
            ) -> "Tensor":
                gate, up = (widened(codes, its) @ gate_up).chunk(2, -1)
                return widened(*quantise(activated(gate, up, *scales), 1.0)) @ down * share

            given = by_rows(mlp, weights[tokens, slots, None], hidden_states[tokens], hidden_states_scale[tokens])
            out.index_add_(0, tokens, given)
        return out

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Holds every token against its own norm, or half that of an average one: one wrong token is lost among many."""
        right = want["out"].float()
        norms = right.norm(dim=-1)
        allowed = _TOKEN * norms.clamp_min(float(right.norm()) / (2 * self.tokens**0.5))
        off = by_rows(lambda o, r: (o.float() - r).norm(dim=-1), got["out"], right)
        wrong = off > allowed
        if not bool(wrong.any()):
            return None
        token = int((off - allowed).argmax())
        return f"out[{token}] is {float(off[token]):.3g} off in its norm, over the {float(allowed[token]):.3g} allowed there"


def activated(gate: "Tensor", up: "Tensor", gate_scale: "Tensor", scale: "Tensor") -> "Tensor":
    """silu(gate_scale * gate) * scale * up in fp32: what is quantised between the products."""
    import torch

    return torch.nn.functional.silu(gate.float() * gate_scale) * (up.float() * scale)
