"""What a search found as CSV: the ranked configurations, then those that are on a Pareto front alone."""

from collections.abc import Iterator

from ...textfile import csv_of
from .search import Found, Row

#: Columns of the CSV. rank: from 1; empty of a row that is on a front alone. front: "all" on the front of all GPUs, "gpu" on that
#: of its own GPU alone. Times in seconds, in prefill step_s is the time to the first token; memory in bytes on one GPU.
COLUMNS = (
    *("rank", "front", "gpu", "nic", "ep", "local_experts", "tp", "weights", "cache", "policy", "mtp", "batch_per_gpu"),
    *("user_tokens_per_s", "tokens_per_s_per_gpu", "step_s", "tpot_s", "need_bytes", "usable_bytes"),
)


def as_csv(found: Found) -> str:
    """All of it; a number has all its digits."""
    return csv_of(COLUMNS, _rows(found))


def _rows(found: Found) -> Iterator[list[object]]:
    ranked = found.best.tolist()
    every, own = set(found.front.tolist()), {number for front in found.fronts.values() for number in front.tolist()}
    ranks = {number: rank for rank, number in enumerate(ranked, 1)}
    for number in (*ranked, *sorted(own - ranks.keys())):
        front = "all" if number in every else "gpu" if number in own else ""
        yield [ranks.get(number, ""), front, *_cells(found.row(number))]


def _cells(row: Row) -> list[object]:
    given = row.configuration
    split, nic = given.split, given.nic
    spread = ["", ""] if split is None else [split.ep, split.local]
    names = [given.gpu.name, "" if nic is None else nic.name, *spread, given.tp, given.precision.weights, given.precision.cache]
    usable = "" if row.usable is None else row.usable
    return [*names, given.policy, given.mtp, given.batch, row.user, row.per_gpu, row.step, row.tpot, row.need, usable]
