"""What the published study's search found, as text, with what its model leaves out."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..table import table

if TYPE_CHECKING:
    from ...serving.study import Grid, Row, Study

_HEAD = ("GPU", "NIC", "policy", "EP", "batch", "MTP", "KV bytes", "other bytes", "tokens/s per user", "tokens/s per GPU")


def study_lines(rows: Sequence["Row"], target: float, discounted: bool, grid: "Grid", study: "Study") -> Iterator[str]:
    """The table of what was found, and what it rests on; one sentence where nothing was."""
    from ...serving.study import combinations

    asked = len(combinations(grid, study))
    among = f"the {asked} combinations of GPU, NIC, EP and bytes of non-expert weights"
    batches = f"{grid.batches[0]} to {grid.batches[-1]}"
    if not rows:
        yield f"no batch of {batches} sequences per GPU leaves each user {target:g} tokens/s, on any of {among}"
        return
    yield (
        f"DeepSeek-V3, decode at a context of {study.context} tokens, by the published study's formulas:"
        f" {target:g} tokens/s or more for each user"
    )
    yield ""
    yield from table(_HEAD, [_cells(row, study) for row in rows], left=3)
    yield ""
    policies, mtp = (" and ".join(map(str, values)) for values in (grid.policies, grid.mtp))
    yield f"{len(rows)} of {among} get there; of each the best of policy {policies}, MTP {mtp}, and a batch of {batches}"
    yield from _remarks(rows, discounted, study)


def _remarks(rows: Sequence["Row"], discounted: bool, study: "Study") -> Iterator[str]:
    from ...serving.study import beyond

    yield (
        "computed, not measured: every GEMM at the peak of memory or matrix units"
        f"{', those of the experts at the rates that the study measured' if discounted else ''}"
    )
    yield (
        "left out, as in the study: reads of the KV cache, the dense layers, the output head, and MTP in MoE and shared expert;"
        " docs/serving.md lists what is wrong with its formulas"
    )
    yield "an element of the KV cache of 1 or 2 bytes gives the same rates; of two equal rows the one with 2 bytes is shown"
    refused = ", ".join(f"{one.gpu} with non-expert weights of {one.non_expert} bytes" for one in study.refused)
    yield (
        "memory: the study's formula for capacity is not published; of its outcome this is known and left out here:"
        f" {refused}; nothing else is checked"
    )
    marked = dict.fromkeys((row.gpu, row.ep) for row in rows if beyond(row, study))
    known = [f"{one.batch} on {one.gpu} at EP{one.ep}" for one in study.held if (one.gpu, one.ep) in marked]
    if known:
        yield f"*: a larger batch than the study is known to have let the GPU hold, which is {' and '.join(known)}"


def _cells(row: "Row", study: "Study") -> list[str]:
    from ...serving.study import beyond

    numbers = (row.mtp_len, row.kvcache_elem_bytes, row.non_expert_elem_bytes)
    batch = f"{row.batch_per_gpu}{'*' if beyond(row, study) else ''}"
    rates = (f"{row.user_tps:.2f}", f"{row.tokens_per_s_per_gpu:.1f}")
    return [row.gpu, row.nic, row.policy, str(row.ep), batch, *map(str, numbers), *rates]
