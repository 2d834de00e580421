"""Wanted: the kernels of an estimate that no run has measured at their own shape, as shape files that a run can measure."""

from ...dims import as_row
from ...operator import Operator
from ...record import Record
from ..estimate import Estimate


class Wanted(Record):
    """Shapes to measure, and how many kernels no measurement of an operator would price."""

    shapes: tuple[Operator, ...]
    #: kernels that differ from their operator, such as one product for each head
    inexact: int


def wanted(found: Estimate) -> Wanted:
    """The shapes of an estimate that were not measured, each once."""
    ops = [term.op for section in found.sections for term in section.terms if term.op is not None and term.source != "measured"]
    shapes = dict.fromkeys(op.operator for op in ops if op.exact)
    return Wanted(shapes=tuple(shapes), inexact=len({(op.name, op.operator) for op in ops if not op.exact}))


def shape_files(found: Wanted, source: str) -> dict[str, str]:
    """The text of a shape file for each operator, by the name of the file; `source` says whose shapes they are."""
    files: dict[str, list[str]] = {}
    for op in found.shapes:
        files.setdefault(op.name, []).append(f"  {as_row(op)},")
    quoted = source.replace("\\", "\\\\").replace('"', '\\"')
    return {
        f"{name}.toml": "\n".join(
            (
                "# Written by dsbench serve: what a configuration runs and no run has measured.",
                f'operator = "{name}"',
                f'source = "{quoted}"',
                'tags = ["serve"]',
                "case = [",
                *rows,
                "]\n",
            )
        )
        for name, rows in sorted(files.items())
    }
