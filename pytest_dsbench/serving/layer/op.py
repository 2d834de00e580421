"""Op: one kernel of a layer, as an operator of the benches at the dimensions that one GPU gives it."""

from typing import Literal

from ...operator import Operator
from ...record import Record
from ...work import Work
from ..precision import Precision

#: Parts of a layer, in the order in which a micro-batch passes through them; "shared" runs beside the dispatch.
Stage = Literal["attention_in", "attention_out", "router", "shared", "experts", "mlp", "head"]


class Pass(Record):
    """What one micro-batch asks of the attention of one GPU."""

    #: sequences of the micro-batch for each GPU; a group of `tp` GPUs serves `tp` times as many together
    sequences: int
    #: new tokens of each sequence: 1 and those that are guessed ahead in decode, the whole prompt in prefill
    queries: int
    #: keys that the last new token sees, itself among them
    context: int
    #: GPUs that share the heads of one sequence
    tp: int = 1
    precision: Precision
    decode: bool = True

    @property
    def tokens(self) -> int:
        """New tokens for each GPU."""
        return self.sequences * self.queries

    @property
    def together(self) -> int:
        """New tokens of the group of GPUs that share the heads: what each of their projections sees."""
        return self.tokens * self.tp


class Op(Record):
    """One step of a layer."""

    name: str
    stage: Stage
    operator: Operator
    #: products of this shape that one launch does, such as one for each head
    count: int = 1
    #: kernels that the step takes
    launches: int = 1
    #: rows that each weight matrix is multiplied with: the matrix unit takes them in whole tiles; 0 for what is no product
    rows: float = 0.0
    #: of attention: pairs of query and key over all heads, each of which takes an exponential and a sum
    scores: int = 0
    #: of attention: the share of its FLOP that compares queries with keys
    key_share: float = 0.0
    #: bytes in the operator's work that are not moved here
    spared: int = 0
    #: where the operator stands for something slightly different
    note: str | None = None

    @property
    def exact(self) -> bool:
        """Whether it is the operator as it is, so that what was measured of that holds here."""
        return self.count == 1 and not self.spared

    def work(self) -> Work:
        """Bytes and FLOP of the whole step."""
        work = self.operator.work()
        # Most are one product with nothing spared, and a search asks a hundred thousand of them.
        work = work if self.count == 1 else work * self.count
        return work.replace(read=work.read - self.spared) if self.spared else work
