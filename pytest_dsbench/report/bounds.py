"""Plans, sheets and single bounds as text."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from ..hardware.sheet import Hardware
from ..plan import Prospect
from ..roofline import Bound
from ..units import UNITS, show_bytes, show_count, show_flop, show_number, show_rate, show_seconds
from ..work import Work
from .table import table


def plan_lines(prospects: Sequence[Prospect], hardware: Hardware) -> list[str]:
    """A plan: a table per operator, a line per case."""
    lines = [headline(hardware)]
    for name, found in groupby(prospects, key=lambda prospect: prospect.case.op.name):
        rows = [_prospect_row(prospect) for prospect in found]
        lines += ["", f"{name} ({show_count(len(rows), 'case')})"]
        lines += table(["case", "bytes", "FLOP", "FLOP/B", "regime", "T_SOL"], rows)
    reasons = {prospect.reason for prospect in prospects if prospect.reason}
    return [*lines, "", *(f"no bound: {reason}" for reason in sorted(reasons))] if reasons else lines


def _prospect_row(prospect: Prospect) -> list[str]:
    return [prospect.case.label, *_work_cells(prospect.work), *_bound_cells(prospect.bound)]


def _work_cells(work: Work) -> list[str]:
    return [show_bytes(work.bytes), show_flop(work.flops), show_number(work.intensity)]


def _bound_cells(bound: Bound | None) -> list[str]:
    return [bound.regime, show_seconds(bound.seconds)] if bound else ["-", "no bound"]


def headline(hardware: Hardware) -> str:
    """One line about a device: peaks, bandwidth, and where they come from if not from a vendor."""
    peaks = ", ".join(f"{unit} {show_rate(rate, 'FLOP/s')}" for unit, rate in hardware.peak.items())
    origin = f" [derived: {hardware.source}]" if hardware.derived else f" ({hardware.source})" if hardware.kind == "cpu" else ""
    return f"{hardware.name}: {hardware.title}; {show_rate(hardware.bandwidth, 'B/s')}; {peaks}{origin}"


def roofline_lines(name: str, work: Work, bounds: Iterable[tuple[Hardware, Bound]]) -> list[str]:
    """One shape on several sheets, side by side."""
    flop = ", ".join(f"{show_flop(count)} {unit}" for unit, count in work.flop.items())
    lines = [
        name,
        f"read {show_bytes(work.read)}, written {show_bytes(work.written)}; {flop or 'no FLOP'}; {work.intensity:.4g} FLOP/B",
    ]
    rows = []
    for hardware, bound in bounds:
        ridge = ", ".join(f"{unit} {hardware.ridge(unit):.4g}" for unit in work.flop)
        rows.append([hardware.name, show_seconds(bound.seconds), bound.regime, bound.by, ridge or "-"])
    return lines + table(["hw", "T_SOL", "regime", "bound by", "ridge FLOP/B"], rows)


def hardware_lines(sheets: Iterable[Hardware]) -> list[str]:
    """All sheets: peaks, bandwidth, memory, and the ridge point of every unit."""
    sheets = list(sheets)
    units = [unit for unit in UNITS if any(unit in sheet.peak for sheet in sheets)]
    peaks = [
        [
            sheet.name,
            sheet.title + (" [derived]" if sheet.derived else ""),
            *(f"{sheet.peak[unit] / 1e12:,.5g}" if unit in sheet.peak else "-" for unit in units),
            show_rate(sheet.bandwidth, "B/s"),
            show_bytes(sheet.memory) if sheet.memory else "-",
            f"{sheet.sms}" if sheet.sms else "-",
        ]
        for sheet in sheets
    ]
    ridges = [[s.name, *(f"{s.ridge(unit):.5g}" if unit in s.peak else "-" for unit in units)] for s in sheets]
    return [
        "dense peaks in TFLOP/s; - where the device has no such unit or no vendor figure is known",
        *table(["name", "device", *units, "bandwidth", "memory", "SMs"], peaks, left=2),
        "",
        "ridge points in FLOP/byte: below, memory binds; above, compute",
        *table(["name", *units], ridges),
    ]
