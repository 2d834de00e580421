"""What a search found, as text: the best configurations, the Pareto front, what was refused, and what the numbers rest on."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from ...units import show_bytes, show_count, show_seconds, show_share
from ..table import table
from . import words

if TYPE_CHECKING:
    from ...serving.estimate import Estimate
    from ...serving.grid import Grid
    from ...serving.price.assumed import Assumed
    from ...serving.search.search import Floor, Found, Row

#: Points of a front that are shown, assumptions that are named, and kernels.
_POINTS, _NAMED, _KERNELS = 12, 4, 8
_HEAD = (
    "GPU",
    "NIC",
    "EP",
    "experts",
    "TP",
    "weights",
    "cache",
    "policy",
    "MTP",
    "batch",
    "tokens/s per GPU",
    "tokens/s per user",
)


def search_lines(found: "Found", top: int, best: "Estimate | None", assumed: "Assumed", runs: bool = False) -> Iterator[str]:
    """`best`: the first row in full; None where no configuration meets the floor. `runs`: whether some were given."""
    yield headline(found)
    yield ""
    shown = found.rows(found.best[:top])
    if shown:
        yield from _table(found, shown)
        yield ""
        yield _of_all(found, len(shown))
    else:
        yield from _none(found)
    yield ""
    if len(found.front) > 1 and shown:
        yield from _front(found)
        yield ""
    yield from _refused(found)
    yield ""
    yield "computed, not measured: the bound of every kernel and message over the efficiency that it is taken to reach"
    if best is not None:
        yield from rests_on(best, assumed, runs)
    yield from _remarks(found.grid, assumed)


def headline(found: "Found") -> str:
    """Model, phase, context and floor."""
    grid = found.grid
    phase = (
        f"decode at a mean context of {grid.context} tokens" if grid.decode else f"prefill of prompts of {grid.context} tokens"
    )
    return f"{grid.model.title}, {phase}, by the corrected model: {floor_words(found.floor)}"


def floor_words(floor: "Floor | None") -> str:
    """What a configuration must give a user."""
    if floor is None:
        return "the most tokens/s per GPU, however long a user waits"
    if floor.of == "tps":
        return f"{floor.value:g} tokens/s or more for each user"
    return f"{show_seconds(floor.value)} or less {'per token of each user' if floor.of == 'tpot' else 'to the first token'}"


def _table(found: "Found", rows: "Sequence[Row]") -> list[str]:
    # A prompt is there at once: what its user waits for is the first token.
    waited = "TPOT" if found.grid.decode else "TTFT"
    return table((*_HEAD, waited, "memory", "usable"), [_cells(row, found.grid.decode) for row in rows], left=2)


def _cells(row: "Row", decode: bool) -> list[str]:
    given, split = row.configuration, row.configuration.split
    spread = ["-", "-"] if split is None else [str(split.ep), str(split.local)]
    names = [given.gpu.name, "-" if given.nic is None else given.nic.name, *spread, str(given.tp)]
    kept = [given.precision.weights, given.precision.cache, given.policy, str(given.mtp), str(given.batch)]
    usable = "?" if row.usable is None else show_bytes(row.usable)
    rates = [f"{row.per_gpu:.1f}", f"{row.user:.2f}", show_seconds(row.tpot if decode else row.step)]
    return [*names, *kept, *rates, show_bytes(row.need), usable]


def _of_all(found: "Found", shown: int) -> str:
    ways = found.grid.size // len(found.grid.batches)
    enough = "fit and are fast enough" if found.floor is not None else "fit"
    batches = found.grid.batches
    tried = f"{len(batches)} batches" if len(batches) > 1 else f"batch {batches[0]}"
    more = f"; the first {shown} are shown, --csv writes all" if shown < len(found.best) else ""
    return f"{len(found.best):,} of {ways:,} ways to serve it {enough}, each at the best of {tried}{more}"


def _none(found: "Found") -> Iterator[str]:
    """Something fits, and nothing is fast enough."""
    row = found.row(int(found.front[0]))
    tried = show_count(found.grid.size, "configuration")
    yield f"of {tried} none gives {floor_words(found.floor)}; of those that fit the fastest for a user:"
    yield ""
    yield from _table(found, [row])


def _front(found: "Found") -> Iterator[str]:
    """From the floor up; of many points some, as evenly as they come."""
    floor = found.floor
    rows = [row for row in found.rows(found.front) if floor is None or floor.met(row.step, row.gained)]
    count = min(_POINTS, len(rows))
    shown = [rows[round(place * (len(rows) - 1) / max(count - 1, 1))] for place in range(count)]
    some = f", {count} of its {len(rows)} points" if count < len(rows) else ""
    yield f"Pareto front{some}: nothing that fits is faster for a user without fewer tokens/s per GPU"
    yield from _table(found, shown)


def _refused(found: "Found") -> list[str]:
    """Of each GPU the best, and how many configurations each thing stands in the way of."""
    best: dict[str, str] = {}
    each = found.grid.size // len(found.grid.gpus)
    for number in found.best.tolist():
        best.setdefault(found.grid.gpus[number // each].name, f"{found.per_gpu.flat[number]:.1f}")
    head = ("GPU", "best tokens/s per GPU", "configurations", "no such unit", "TP impossible", "does not fit", "too slow", "left")
    rows = []
    for one in found.tallies:
        counts = (one.configurations, one.unit, one.tp, one.memory, one.floor, one.left)
        rows.append([one.gpu, best.get(one.gpu, "-"), *(f"{count:,}" for count in counts)])
    return ["GPU by GPU, and the first thing in the way of each configuration", *table(head, rows)]


def rests_on(best: "Estimate", assumed: "Assumed", runs: bool) -> Iterator[str]:
    """How much of the best configuration's time rests on measurements, and what the rest is assumed to reach."""
    from ...serving.grounds import grounds
    from ...serving.price.efficiencies import Source

    sources: Sequence[Source] = get_args(Source)
    shares = [f"{show_share(share)} {source}" for source in sources[:-1] if (share := best.share(source))]
    way = "--shapes DIR writes what to measure" if runs else "--run FILE takes efficiencies from a run"
    step = f"of the step of the best, {show_seconds(best.step)},"
    yield f"{step} rest on measurements: {', '.join(shares) or f'nothing; {way}'}"
    kernels = [term for section in best.sections for term in section.terms if term.op is not None]
    bare = [term.name for term in kernels if term.source == "assumed"]
    named = f" ({_some(list(dict.fromkeys(bare)), _KERNELS)})" if bare and len(bare) < len(kernels) else ""
    prices = [one for one in grounds(best, assumed) if one.seconds]
    shares = [_priced(one.name, one.value, (one.seconds or 0.0) / best.step) for one in prices]
    count = f"{len(bare)} of its {len(kernels)} kernels{named}"
    yield f"assumed: the efficiency of {count}; shares of the step: {_some(shares, _NAMED)}"


def _some(some: Sequence[str], most: int) -> str:
    return f"{', '.join(some[:most])}{f', and {len(some) - most} more' if len(some) > most else ''}"


def _priced(name: str, value: float | str, share: float) -> str:
    return f"{name} = {words.assumption(name, value)} ({show_share(share)})"


def _remarks(grid: "Grid", assumed: "Assumed") -> Iterator[str]:
    """What is not quite as it seems."""
    fp8 = any("fp8" in (one.dense, one.experts) for one in grid.precisions)
    without = [gpu.name for gpu in grid.gpus if fp8 and "fp8" not in gpu.peak and "int8" in gpu.peak]
    if without:
        yield f"no fp8 unit: of {', '.join(without)} the int8 peak stands in for that of fp8, as in the published study"
    bare = [gpu.name for gpu in grid.gpus if gpu.memory is None]
    if bare:
        yield f"no memory on the sheet of {', '.join(bare)}: whether anything fits there was not checked"
    if assumed.changed:
        yield f"changed by --assume: {', '.join(f'{name} = {assumed.values[name]}' for name in assumed.changed)}"
