"""Plain text tables: columns as wide as their widest cell, numbers to the right."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, last_left: bool = False) -> list[str]:
    """Lines of a table; the first `left` columns, and the last if asked, are aligned to the left, the others to the right."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    names = {*range(left), *([len(head) - 1] if last_left else [])}
    lines = []
    for row in cells:
        parts = [
            cell.ljust(width) if n in names else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return lines
