"""topk_filter: the logits that sampling may choose from; all others become impossible."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec
from ..work import Work
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor


class TopkFilter(Operator):
    """out = logits where they are at least the top_k-th largest of their row, else -inf: logits, out fp32 [tokens, vocab].

    All that equal the top_k-th largest are kept, so that a row may keep more than top_k.
    """

    tokens: Dim
    vocab: Dim
    top_k: Dim = 50

    category = "sampling"
    fuzz = {"vocab": (1, 5000), "top_k": (1, 60)}

    def contradiction(self) -> str | None:
        if self.top_k > self.vocab:
            return f"top_k = {self.top_k} of a vocabulary of only {self.vocab}"
        return None

    def work(self) -> Work:
        """Read the logits, write them; a comparison is no FLOP."""
        size = 4 * self.tokens * self.vocab
        return Work(read=size, written=size)

    def inputs(self, new: New) -> Inputs:
        return {"logits": new.normal((self.tokens, self.vocab), "fp32")}

    def outputs(self) -> dict[str, Spec]:
        return {"out": Spec(shape=(self.tokens, self.vocab), dtype="fp32")}

    def reference(self, logits: "Tensor") -> "Tensor":
        """Values are copied, never computed, so the output is exact."""

        def kept(rows: "Tensor") -> "Tensor":
            threshold = rows.topk(self.top_k).values[:, -1:]
            return rows.masked_fill(rows < threshold, float("-inf"))

        return by_rows(kept, logits)
