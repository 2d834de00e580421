"""moe_fused_gate: DeepSeek-V3's router: sigmoid scores, a bias that only chooses, and groups of experts, some of them kept."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..units import FloatDtype, nbytes
from ..work import Work
from ._deepseek_routing import grouped_topk
from ._gating import LOST, drawn_bias, first, misweighted, overdrawn, routed, unnamed
from ._ulp import ULP

if TYPE_CHECKING:
    from torch import Tensor


class MoeFusedGate(Operator):
    """s = sigmoid(gating_output), c = s + correction_bias; the top_k experts by c in the best groups, by their shares of s.

    gating_output [tokens, experts] and correction_bias [experts] of one dtype. experts / groups neighbours are a group, scored by
    the sum of its two largest c; the kept_groups best stay. topk_weights fp32, scaling * s / (sum of s over the chosen), and
    topk_ids int32, both [tokens, top_k], in any order. The weights include `scaling`, so that nothing after them has to multiply.
    """

    tokens: Dim
    experts: Dim
    groups: Dim
    kept_groups: Dim
    top_k: Dim
    #: factor of all routed experts; a row of weights adds up to it
    scaling: float = 2.5
    #: of logits and bias; kernels may compute the scores they choose by in it
    dtype: FloatDtype = "fp32"

    category = "routing"
    constants = ("correction_bias",)
    fuzz = {
        "experts": "= groups * _each",
        "groups": (1, 12),
        "_each": (1, 16),
        "kept_groups": "= 1 + _more % groups",
        "_more": (0, 11),
        "top_k": "= 1 + _others % (kept_groups * _each)",
        "_others": (0, 9),
        "scaling": [2.5, 1.0],
    }
    # Of experts that the bias makes equal, each has a weight of its own.
    tolerance = {"topk_weights": Tolerance(judged=True), "topk_ids": Tolerance(judged=True)}

    @property
    def each(self) -> int:
        """Experts of a group."""
        return self.experts // self.groups

    def contradiction(self) -> str | None:
        if self.experts % self.groups:
            return f"experts = {self.experts} is no multiple of groups = {self.groups}"
        if self.kept_groups > self.groups:
            return f"kept_groups = {self.kept_groups} of only {self.groups} groups"
        return overdrawn(self.kept_groups * self.each, self.top_k)

    def work(self) -> Work:
        """Read logits and bias, write weights and ids; per token 4E for c, a sum per group and 3k - 1 for the weights."""
        return Work(
            read=nbytes(self.dtype, (self.tokens + 1) * self.experts),
            written=8 * self.tokens * self.top_k,
            flop={"fp32": self.tokens * (4 * self.experts + self.groups + 3 * self.top_k - 1)},
        )

    def inputs(self, new: New) -> Inputs:
        logits = new.normal((self.tokens, self.experts), self.dtype)
        return {"gating_output": logits} | drawn_bias(new, True, self.experts, self.dtype)

    def outputs(self) -> dict[str, Spec]:
        return routed(self.tokens, self.top_k)

    def reference(self, gating_output: "Tensor", correction_bias: "Tensor") -> tuple["Tensor", "Tensor"]:
        return grouped_topk(gating_output, correction_bias, self.groups, self.kept_groups, self.top_k, self.scaling)

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Experts and groups that a kernel cannot tell apart may stand for each other; the rest of a choice follows from them."""
        ids = got["topk_ids"].long()
        flaw = unnamed(ids, self.experts)
        if flaw is not None:
            return flaw
        scores = inputs["gating_output"].double().sigmoid()
        flaw = self._passed_over(ids, scores + inputs["correction_bias"])
        rounding = max(ULP[self.dtype], 1e-5)
        return flaw or misweighted(got["topk_weights"], scores.gather(-1, ids), True, self.scaling, rounding)

    def _passed_over(self, ids: "Tensor", choice: "Tensor") -> str | None:
        """One sentence where no way to keep groups makes the experts named the best of theirs; or None.

        In bf16 a sigmoid is off by up to 2^-9 and its sum with the bias by 2^-8 more: two scores 1.5 ulp apart may be taken
        for equal; two groups, whose sums are rounded again, 5 ulp.
        """
        import torch

        ulp = max(ULP[self.dtype], LOST)
        by_group = choice.view(-1, self.groups, self.each)
        totals = by_group.topk(min(2, self.each)).values.sum(-1)
        ranked = torch.nn.functional.pad(totals.sort(-1, descending=True).values, (0, 1), value=-torch.inf)
        possible = totals >= ranked[:, self.kept_groups - 1, None] - 5 * ulp
        certain = totals > ranked[:, self.kept_groups, None] + 5 * ulp
        used = torch.zeros_like(possible).scatter_(-1, ids // self.each, True)
        if bool((used & ~possible).any()):
            row, group = first(used & ~possible)
            return f"topk_ids[{row}] names an expert of group {group}, which is not among the {self.kept_groups} best of its row"
        kept = used | certain
        many = kept.sum(-1) > self.kept_groups
        if bool(many.any()):
            row = int(many.nonzero()[0])
            return f"topk_ids[{row}] names experts of groups that leave out one of the {self.kept_groups} best of its row"
        # Of the groups that may be kept beside these, those whose best expert is the least: none of theirs is named.
        spare = by_group.amax(-1).masked_fill(kept | ~possible, torch.inf).argsort(-1).argsort(-1)
        kept = kept | (spare < self.kept_groups - kept.sum(-1, keepdim=True))
        left = choice.masked_fill(~kept.repeat_interleave(self.each, -1), -torch.inf).scatter(-1, ids, -torch.inf).max(-1)
        worst = choice.gather(-1, ids).min(-1).values
        passed = left.values > worst + 2 * ulp
        if bool(passed.any()):
            row = int(passed.nonzero()[0])
            return (
                f"topk_ids[{row}] leaves out expert {int(left.indices[row])} of score {float(left.values[row]):.6g}"
                f" and names one of score {float(worst[row]):.6g}"
            )
        return None
