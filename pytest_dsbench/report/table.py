"""Tables: columns as wide as their widest cell, numbers to the right; or markdown."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, last_left: bool = False) -> list[str]:
    """Lines of a table; the first `left` columns, and the last if asked, are aligned to the left, the others to the right."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    names = {*range(left), *([len(head) - 1] if last_left else [])}
    pads = [str.ljust if column in names else str.rjust for column in range(len(head))]
    return ["  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)).rstrip() for row in cells]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, last_left: bool = False) -> list[str]:
    """The same table in markdown."""
    last = len(head) - 1
    rule = [":--" if column < left or (last_left and column == last) else "--:" for column in range(len(head))]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in (head, rule, *rows)]
