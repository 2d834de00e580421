"""moe_count_and_sort: how many tokens each expert gets, and which: what grouped products of an MoE layer start from."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..work import Work
from ._grouped import misplaced
from ._moe import drawn_ids, misrouted

if TYPE_CHECKING:
    from torch import Tensor


class MoeCountAndSort(Operator):
    """Flat positions of topk_ids by expert, the number of each expert's, and where they begin.

    topk_ids int32 [tokens, top_k]; sorted_token_ids int32 [tokens * top_k]; expert_token_counts int32 [experts]; cumsum int32
    [experts + 1], which begins with 0 and ends with tokens * top_k.
    """

    tokens: Dim
    experts: Dim
    top_k: Dim

    category = "routing"
    fuzz = {"top_k": "= 1 + _others % experts", "_others": (0, 15)}
    tolerance = {"sorted_token_ids": Tolerance(judged=True)}

    def contradiction(self) -> str | None:
        return misrouted(self.experts, self.top_k)

    def work(self) -> Work:
        """Read the ids, write as many positions, the counts and their prefix sums; no arithmetic worth a bound."""
        ids = 4 * self.tokens * self.top_k
        return Work(read=ids, written=ids + 4 * self.experts + 4 * (self.experts + 1))

    def inputs(self, new: New) -> Inputs:
        return {"topk_ids": drawn_ids(new, self.tokens, self.experts, self.top_k)}

    def outputs(self) -> dict[str, Spec]:
        return {
            "sorted_token_ids": Spec(shape=(self.tokens * self.top_k,), dtype="int32"),
            "expert_token_counts": Spec(shape=(self.experts,), dtype="int32"),
            "cumsum": Spec(shape=(self.experts + 1,), dtype="int32"),
        }

    def reference(self, topk_ids: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
        """Expert by expert, positions ascending."""
        import torch

        flat = topk_ids.flatten()
        groups = [(flat == expert).nonzero().flatten().int() for expert in range(self.experts)]
        counts = torch.tensor([len(group) for group in groups], dtype=torch.int32, device=flat.device)
        ends = counts.cumsum(0).int()
        return torch.cat(groups), counts, torch.cat([ends.new_zeros(1), ends])

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """The positions of an expert may come in any order."""
        import torch

        counts = want["expert_token_counts"]
        groups = torch.arange(self.experts, device=counts.device).repeat_interleave(counts)
        return misplaced(got["sorted_token_ids"], groups, inputs["topk_ids"])
