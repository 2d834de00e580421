"""What a step does once: the final norm and the head; and what joins a guessed token to the layer that guesses the next."""

from collections.abc import Iterator

from ...operators import find
from ..model.architecture import Architecture
from .op import Op, Pass
from .products import linear


def head(model: Architecture, given: Pass) -> Iterator[Op]:
    """The final norm and the logits, the vocabulary shared by `given.tp` GPUs. A prompt needs those of its last token alone."""
    tokens = given.together if given.decode else given.sequences * given.tp
    norm = find("fused_add_rms_norm")(tokens=tokens, hidden=model.hidden)
    yield Op(name="norm", stage="head", operator=norm)
    logits = find("matmul")(m=tokens, n=-(-model.vocab // given.tp), k=model.hidden)
    yield Op(name="lm_head", stage="head", operator=logits, rows=tokens)


def joint(model: Architecture, given: Pass) -> Iterator[Op]:
    """Norms of the guessed token's embedding and of the last hidden state, and the projection of both together."""
    tokens = given.tokens
    for name in ("enorm", "hnorm"):
        yield Op(name=f"draft.{name}", stage="head", operator=find("rms_norm")(tokens=tokens, hidden=model.hidden))
    yield from linear("draft.eh_proj", "head", tokens, model.hidden, 2 * model.hidden, given.precision.dense)
