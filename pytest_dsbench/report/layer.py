"""Layers of a model as text: what each op takes, their sum, and how it grows with batch and sequence."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..contracts import kernel_of, of
from ..layers import Layer, Row, Total
from .table import table

_HEAD = ["kernel", "op", "provider", "latency ms", "GFLOPS", "GB/s", "% of peak", "category"]


def layer_lines(shown: Sequence[Layer], layers: Sequence[Layer], bounds: bool) -> list[str]:
    """The tables of some points in full, then every point of their phases in one line each."""
    lines = []
    for layer in shown:
        lines += ["", *_full(layer, bounds)]
    for phase, group in groupby(layers, key=lambda layer: layer.phase.name):
        lines += ["", *_scaling(phase, list(group), bounds)]
    model = shown[0].model if shown else layers[0].model
    if model.omitted:
        lines += ["", f"in no total: {'; '.join(model.omitted)}"]
    return lines


def errors(layers: Sequence[Layer]) -> list[str]:
    """Times that no device could reach, each once."""
    return list(dict.fromkeys(error for layer in layers for row in layer.rows for error in row.errors))


def _full(layer: Layer, bounds: bool) -> Iterator[str]:
    marked = ": bounds (T_SOL), not measurements" if bounds else ""
    yield f"{layer.model.title}, {layer.phase.name}, {layer.point}{marked}"
    rows = [_cells(row, bounds) for row in layer.rows if row.counted]
    others = [_cells(row, bounds) for row in layer.rows if not row.counted]
    yield from table(_HEAD, [*rows, *others], left=3, last_left=True)
    if others:
        yield from (f"  {row.op.name} is beside the sum: instead of {row.op.instead_of}" for row in layer.rows if not row.counted)
    for kind, count in layer.model.kinds().items():
        total = layer.total(kind)
        yield f"{kind} layer: {_milliseconds(total)}{_missing(total)} (x {count})"
    total = layer.all_layers()
    rate = layer.tokens_per_second()
    speed = f"; {rate:,.0f} tokens/s{' at most' if bounds else ''}" if rate else ""
    yield f"all {sum(layer.model.kinds().values())} layers: {_milliseconds(total)}{speed}"
    warm = [row.op.name for row in layer.rows if row.warm]
    if warm:
        yield f"timed from a warm cache, so that the memory roof does not hold: {', '.join(warm)}"
    yield from (f"gap: {row.op.name}: {row.gap}" for row in layer.rows if row.seconds is None)


def _cells(row: Row, bounds: bool) -> list[str]:
    name = row.op.name if row.counted else f"({row.op.name})"
    head = [_kernel(row), name, row.provider or "-"]
    if row.seconds is None:
        return [*head, "gap", "-", "-", "-", row.op.category]
    known = f"{row.share_of_peak:.1%}" if row.share_of_peak is not None else "-"
    share = "bound" if bounds else "warm" if row.warm else known
    rates = (_giga(count / row.seconds) for count in (row.work.flops, row.work.bytes))
    return [*head, f"{row.seconds * 1e3:.6f}", *rates, share, row.op.category]


def _giga(rate: float) -> str:
    """A rate per second in 1e9, in three digits or more."""
    return f"{rate / 1e9:,.0f}" if rate >= 1e11 else f"{rate / 1e9:.3g}"


def _kernel(row: Row) -> str:
    """The kernel under contract that ran, or that could; the operator where another one ran, such as torch's."""
    if row.provider is None:
        return kernel_of(row.operator.name) or row.operator.name
    return next((one.kernel for one in of(row.operator.name, row.provider)), row.operator.name)


def _milliseconds(total: Total) -> str:
    """A sum; where something is missing in it, it says so."""
    if not total.measured:
        return "no time"
    if total.complete:
        return f"{total.seconds * 1e3:.6f} ms"
    return f"more than {total.seconds * 1e3:.6f} ms, {total.measured} of {total.rows} ops"


def _missing(total: Total) -> str:
    return "" if total.complete else f", without {', '.join(total.missing)}"


def _scaling(phase: str, layers: Sequence[Layer], bounds: bool) -> list[str]:
    """One line per point: what a layer of each kind takes, all of them, and tokens per second."""
    kinds = list(layers[0].model.kinds())
    several = [name for name in ("batch", "sequence", "context") if len({getattr(layer.point, name) for layer in layers}) > 1]
    title = (
        f"{phase}: {' and '.join(several) or 'one point'}{' scaling' if several else ''}{', bounds (T_SOL)' if bounds else ''}"
    )
    rows = []
    for layer in layers:
        totals = [layer.total(kind) for kind in kinds]
        rate, whole = layer.tokens_per_second(), layer.all_layers()
        rows.append(
            [
                *map(str, (layer.point.batch, layer.point.sequence, layer.point.context)),
                *(_short(total) for total in (*totals, whole)),
                f"{rate:,.0f}" if rate else "-",
                f"{whole.measured} of {whole.rows}",
            ]
        )
    head = ["batch", "sequence", "context", *(f"{kind} layer ms" for kind in kinds), "all layers ms", "tokens/s", "ops"]
    return [title, *table(head, rows, left=0)]


def _short(total: Total) -> str:
    if not total.measured:
        return "-"
    return f"{'' if total.complete else '> '}{total.seconds * 1e3:.6f}"
