"""Texts: that of a file that a user wrote, and that of a CSV that we write."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from .mistake import Mistake


def text_of(path: Path) -> str:
    """The text of a file, without a byte order mark. Raises Mistake where there is none, or where it is not UTF-8."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None
    # UTF-16 without a mark is full of zeros, and UTF-8 all the same.
    end = raw.find(0)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        end = error.start
    if end >= 0:
        line = raw[:end].count(b"\n") + 1
        raise Mistake(f"{path}:{line}: not UTF-8 text; save the file as UTF-8")
    return text


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with a line of names; a number has all its digits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
