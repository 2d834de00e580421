"""moe_align_block_size: the order in which a blocked MoE kernel visits its tokens, every expert's padded to whole blocks."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..work import Work
from ._grouped import misplaced
from ._moe import drawn_ids, misrouted
from ._routing import loads

if TYPE_CHECKING:
    from torch import Tensor


class MoeAlignBlockSize(Operator):
    """Flat positions of topk_ids by expert, each expert's padded with tokens * top_k to a multiple of block_size.

    topk_ids int32 [tokens, top_k]; sorted_token_ids int32 [blocks * block_size], expert_ids int32 [blocks], the expert of each
    block, and num_tokens_post_pad int32 [1], which is blocks * block_size. Experts without tokens have no block.
    """

    tokens: Dim
    experts: Dim
    top_k: Dim
    block_size: Dim = 128

    category = "routing"
    fuzz = {"top_k": "= 1 + _others % experts", "_others": (0, 15), "block_size": [128, 64, 32, 16, 1]}
    tolerance = {"sorted_token_ids": Tolerance(judged=True)}

    @property
    def blocks(self) -> int:
        """Blocks that the tokens fill: those of each expert rounded up."""
        return sum(-(-load // self.block_size) for load in loads(self.tokens, self.experts, self.top_k))

    def contradiction(self) -> str | None:
        return misrouted(self.experts, self.top_k)

    def work(self) -> Work:
        """Read the ids, write blocks * (block_size + 1) + 1 integers; no arithmetic worth a bound."""
        return Work(read=4 * self.tokens * self.top_k, written=4 * self.blocks * (self.block_size + 1) + 4)

    def inputs(self, new: New) -> Inputs:
        return {"topk_ids": drawn_ids(new, self.tokens, self.experts, self.top_k)}

    def outputs(self) -> dict[str, Spec]:
        return {
            "sorted_token_ids": Spec(shape=(self.blocks * self.block_size,), dtype="int32"),
            "expert_ids": Spec(shape=(self.blocks,), dtype="int32"),
            "num_tokens_post_pad": Spec(shape=(1,), dtype="int32"),
        }

    def reference(self, topk_ids: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
        """Expert by expert, positions ascending."""
        import torch

        flat = topk_ids.flatten()
        order = torch.full((self.blocks * self.block_size,), len(flat), dtype=torch.int32, device=flat.device)
        owners = torch.empty(self.blocks, dtype=torch.int32, device=flat.device)
        block = 0
        for expert in range(self.experts):
            positions = (flat == expert).nonzero().flatten()
            start, count = block * self.block_size, len(positions)
            order[start : start + count] = positions
            filled = -(-count // self.block_size)
            owners[block : block + filled] = expert
            block += filled
        return order, owners, torch.tensor([block * self.block_size], dtype=torch.int32, device=flat.device)

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """Within the blocks of an expert, positions and padding may come in any order."""
        groups = want["expert_ids"].repeat_interleave(self.block_size)
        return misplaced(got["sorted_token_ids"], groups, inputs["topk_ids"], padded=True)
