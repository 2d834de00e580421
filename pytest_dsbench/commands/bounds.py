"""Commands about shapes and devices: hardware, roofline, shapes, operators."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..dims import describe, read_dims
from ..hardware import named, sheets
from ..mistake import Mistake
from ..operators import everything, find
from ..plan import sheet
from ..report.bounds import hardware_lines, roofline_lines
from ..report.table import table
from ..roofline import bound
from ..shapes import bundled, load


def add(commands: Any) -> None:
    """Adds the commands to the parser."""
    hardware = commands.add_parser("hardware", help="all data sheets with their ridge points, and the measured roof of this CPU")
    hardware.add_argument("--measure", action="store_true", help="measure this CPU's roof again")
    hardware.set_defaults(command=_hardware)

    roofline = commands.add_parser("roofline", help="bytes, FLOP, regime and T_SOL of one shape on some devices, side by side")
    roofline.add_argument("operator")
    roofline.add_argument("dims", nargs="*", metavar="dim=value", help="such as tokens=4096 dtype=bf16 seq_lens=720,1200")
    roofline.add_argument("--hw", default=None, metavar="NAMES", help="comma-separated sheets or .toml files (default: all)")
    roofline.set_defaults(command=_roofline)

    shapes = commands.add_parser("shapes", help="the cases of the shape files and models")
    shapes.add_argument("operator", nargs="?", help="one operator's cases only")
    shapes.add_argument("--path", action="append", type=Path, help="shape files or folders (default: those of the package)")
    shapes.set_defaults(command=_shapes)

    operators = commands.add_parser("operators", help="all operators with their dimensions and providers")
    operators.set_defaults(command=_operators)


def _hardware(given: argparse.Namespace) -> list[str]:
    found = list(sheets().values())
    try:
        from .. import peaks

        cpu = peaks.measure() if given.measure else peaks.cached()
    except ModuleNotFoundError as error:
        cpu, note = None, f"this CPU's roof: measuring it needs {error.name}; install pytest-dsbench[torch]"
    else:
        note = f"cpu: {cpu.source}" if cpu else "this CPU's roof is not measured yet; dsbench hardware --measure does it"
    return [*hardware_lines([*found, cpu] if cpu else found), "", note]


def _roofline(given: argparse.Namespace) -> list[str]:
    operator = find(given.operator)
    op = operator.build(read_dims(operator, given.dims))
    work = op.work()
    if given.hw:
        chosen = [sheet("cpu") if name == "cpu" else named(name) for name in map(str.strip, given.hw.split(","))]
    else:
        chosen = [one for one in sheets().values() if all(unit in one.peak for unit in work.flop)]
    lines = roofline_lines(f"{op.name} {describe(op)}", work, [(one, bound(work, one)) for one in chosen])
    lacking = [] if given.hw else sorted(sheets().keys() - {one.name for one in chosen})
    return [*lines, f"no bound on {', '.join(lacking)}: no peak for {', '.join(work.flop)}"] if lacking else lines


def _shapes(given: argparse.Namespace) -> Iterator[str]:
    if given.operator:
        find(given.operator)
    found = load(given.path or bundled(), Path.cwd())
    cases = [case for case in found.cases if given.operator in (None, case.op.name)]
    rows = [[one.op.name, one.label, ",".join(one.tags) or "-", one.provenance.framework or "-", one.where] for one in cases]
    yield from table(["operator", "case", "tags", "from", "where"], rows, left=5)
    yield f"{len(cases)} cases"
    if found.broken:
        raise Mistake("\n".join(str(one) for one in found.broken))


def _operators(_: argparse.Namespace) -> list[str]:
    from .. import providers

    known = everything()
    providers.load()
    rows = []
    for name, operator in sorted(known.items()):
        fields = msgspec.structs.fields(operator)
        dims = [f.name if f.default is msgspec.NODEFAULT else f"{f.name}={f.default}" for f in fields]
        rows.append([name, " ".join(dims), " ".join(operator.providers)])
    return table(["operator", "dimensions", "providers"], rows, left=3)
