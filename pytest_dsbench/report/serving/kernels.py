"""Kernels and messages of an estimate as rows of one table, and a line below each for what has no column."""

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from ...dims import describe
from ...units import show_bytes, show_count, show_flop, show_seconds, show_share

if TYPE_CHECKING:
    from ...hardware import Hardware
    from ...serving.price.assumed import Assumed
    from ...serving.sections import Term

HEAD = ["", "bytes", "FLOP", "T_SOL", "bound by", "efficiency", "overhead", "time", ""]
#: Columns of a line.
_WIDTH = 138


def stage(name: str, seconds: float, said: str) -> list[str]:
    """The row of a part: what its kernels take together."""
    return [name, "", "", "", "", "", "", show_seconds(seconds), said]


def cells(term: "Term", gpu: "Hardware", assumed: "Assumed", indent: str) -> list[str]:
    """The row of a term: once, of one micro-batch."""
    from ...serving.grounds import pricing

    name = pricing(term, gpu, assumed)
    return [
        f"{indent}{term.name}",
        show_bytes(term.bytes),
        show_flop(term.flop).removesuffix("FLOP") if term.flop else "-",
        show_seconds(term.t_sol),
        term.by,
        show_share(term.efficiency),
        show_seconds(term.overhead) if term.overhead else "-",
        show_seconds(term.seconds),
        term.source if name is None else f"assumed: {name.removeprefix('efficiency.')}",
    ]


def remark(term: "Term", gpu: "Hardware", assumed: "Assumed", indent: str) -> Iterator[str]:
    """The operator at its dimensions, and what else decides the numbers above."""
    said = "; ".join(_said(term, gpu, assumed))
    yield from wrap(said, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _said(term: "Term", gpu: "Hardware", assumed: "Assumed") -> Iterator[str]:
    from ...serving.grounds import partial, softmax

    if term.op is None:
        yield f"over {term.why}; the overhead is its latency"
        return
    op = term.op
    yield f"{f'{op.count} x ' if op.count > 1 else ''}{op.operator.name}[{describe(op.operator)}]"
    if term.source != "assumed":
        yield f"{term.source}: {term.why}"
    elif op.launches > 1:
        yield show_count(op.launches, "launches").removesuffix("s")
    if partial(term, gpu, assumed):
        yield f"{op.rows:.4g} rows in tiles of {assumed.number('tile.rows'):g}"
    if softmax(term, gpu, assumed):
        yield f"the softmax adds to its products (pipeline: {assumed.pipeline(gpu.driver.capability) if gpu.driver else 'none'})"
    if op.note:
        yield op.note
