"""prepare_moe_input: what the grouped products of an MoE layer start from: where each row lies, how large each product is."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec, Tolerance
from ..work import Work
from ._moe import drawn_ids, misrouted

if TYPE_CHECKING:
    from torch import Tensor

#: Scales of rows in a block format lie in tiles of so many rows, and every expert begins a new tile.
TILE = 128


class PrepareMoeInput(Operator):
    """Rows by expert; an expert with c rows has the products (c, 2 intermediate, hidden) and (c, hidden, intermediate).

    topk_ids int32 [tokens, top_k]; all outputs are int32: expert_offsets [experts + 1], which begins with 0, problem_sizes1 and
    problem_sizes2 [experts, 3], input_permutation [tokens * top_k], the token of each row, output_permutation of as many, the row
    of each flat position of topk_ids, and blockscale_offsets [experts + 1], as expert_offsets with c in multiples of 128.
    """

    tokens: Dim
    experts: Dim
    top_k: Dim
    hidden: Dim
    intermediate: Dim

    category = "routing"
    fuzz = {"top_k": "= 1 + _others % experts", "_others": (0, 15)}
    tolerance = {"input_permutation": Tolerance(judged=True), "output_permutation": Tolerance(judged=True)}

    def contradiction(self) -> str | None:
        return misrouted(self.experts, self.top_k)

    def work(self) -> Work:
        """Read the ids, write both permutations, sizes and offsets; no arithmetic worth a bound."""
        ids = 4 * self.tokens * self.top_k
        return Work(read=ids, written=2 * ids + 4 * (8 * self.experts + 2))

    def inputs(self, new: New) -> Inputs:
        return {"topk_ids": drawn_ids(new, self.tokens, self.experts, self.top_k)}

    def outputs(self) -> dict[str, Spec]:
        bounds, sizes, rows = (self.experts + 1,), (self.experts, 3), (self.tokens * self.top_k,)
        shapes = {
            "expert_offsets": bounds,
            "problem_sizes1": sizes,
            "problem_sizes2": sizes,
            "input_permutation": rows,
            "output_permutation": rows,
            "blockscale_offsets": bounds,
        }
        return {name: Spec(shape=shape, dtype="int32") for name, shape in shapes.items()}

    def reference(self, topk_ids: "Tensor") -> tuple["Tensor", ...]:
        """Expert by expert, positions ascending."""
        import torch

        flat = topk_ids.flatten()
        groups = [(flat == expert).nonzero().flatten() for expert in range(self.experts)]
        order = torch.cat(groups)
        counts = torch.tensor([len(group) for group in groups], device=flat.device)
        rows = torch.empty_like(order)
        rows[order] = torch.arange(len(order), device=order.device)

        def bounds(sizes: "Tensor") -> "Tensor":
            return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]).int()

        def sizes(columns: int, depth: int) -> "Tensor":
            return torch.stack([counts, counts.new_full(counts.shape, columns), counts.new_full(counts.shape, depth)], 1).int()

        return (
            bounds(counts),
            sizes(2 * self.intermediate, self.hidden),
            sizes(self.hidden, self.intermediate),
            (order // self.top_k).int(),
            rows.int(),
            bounds((counts + TILE - 1) // TILE * TILE),
        )

    def flaw(self, inputs: Inputs, got: dict[str, "Tensor"], want: dict[str, "Tensor"]) -> str | None:
        """The rows of an expert may come in any order: each flat position must have one of them, and the row its token."""
        import torch

        rows, flat = got["output_permutation"].long(), inputs["topk_ids"].flatten()
        count, offsets = len(flat), want["expert_offsets"].long()
        outside = (rows < 0) | (rows >= count)
        if bool(outside.any()):
            place = _first(outside)
            return f"output_permutation[{place}] is {int(rows[place])}; expected 0 to {count - 1}"
        shared = rows.bincount(minlength=count) > 1
        if bool(shared.any()):
            return f"output_permutation names row {_first(shared)} more than once"
        owners = torch.searchsorted(offsets[1:], rows, right=True)
        astray = owners != flat
        if bool(astray.any()):
            place = _first(astray)
            return (
                f"output_permutation[{place}] is row {int(rows[place])}, of expert {int(owners[place])};"
                f" expected one of expert {int(flat[place])}"
            )
        tokens = torch.empty_like(rows)
        tokens[rows] = torch.arange(count, device=rows.device) // self.top_k
        wrong = got["input_permutation"] != tokens
        if bool(wrong.any()):
            place = _first(wrong)
            return (
                f"input_permutation[{place}] is {int(got['input_permutation'][place])}; expected token {int(tokens[place])},"
                " which output_permutation sends there"
            )
        return None


def _first(where: "Tensor") -> int:
    return int(where.nonzero()[0])
