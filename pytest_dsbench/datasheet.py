"""What reads data sheets, TOML files of vendors' figures: every value checked, every mistake at its line."""

import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .mistake import Mistake, unknown
from .units import quantity

Keys = tuple[str, ...]
R = TypeVar("R")


class SheetError(Exception):
    """What is wrong with the value at `keys`; `read` knows the path and finds the line."""

    def __init__(self, keys: Keys, why: str) -> None:
        self.keys = keys
        self.why = why


def read(path: Path, what: str, build: Callable[[str, dict[str, Any]], R]) -> R:
    """What `build` makes of the file's stem and its data; `what` is such as "data sheet". Raises Mistake, "path:line: what"."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Mistake(f"cannot read the {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Mistake(f"{path}:{line}: not UTF-8 text") from None
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets as deep, are no TOML error
        raise Mistake(f"{path}:{_syntax(error, text)}") from None
    try:
        return build(path.stem, data)
    except SheetError as wrong:
        raise Mistake(f"{path}:{_line(text, wrong.keys)}: {wrong.why}") from None


def check_keys(table: dict[str, Any], at: Keys, known: Keys, required: Keys) -> None:
    """Raises SheetError where the table at `at` has a key that is not known, or lacks one that is required."""
    where = f" of [{'.'.join(at)}]" if at else ""
    for key in table:
        if key not in known:
            raise SheetError((*at, key), unknown(f"key{where}", key, known))
    for key in required:
        if key not in table:
            raise SheetError(at, f"{key}{where} is missing; a sheet needs {', '.join(required)}")


def table(value: object, keys: Keys) -> dict[str, Any]:
    """The value, which has to be a table. Raises SheetError."""
    if not isinstance(value, dict):
        raise SheetError(keys, f"{keys[-1]} is {value!r}; expected a table [{keys[-1]}]")
    return value


def string(value: object, keys: Keys) -> str:
    """The value, which has to be words. Raises SheetError."""
    if not isinstance(value, str) or not value.strip():
        raise SheetError(keys, f"{keys[-1]} is {value!r}; expected words in quotes")
    return value


def count(value: object, keys: Keys) -> int:
    """The value, which has to be a whole number above zero. Raises SheetError."""
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise SheetError(keys, f"{keys[-1]} is {value!r}; expected a whole number above zero")
    return value


def amount(value: object, keys: Keys, base: str) -> float:
    """The value in `base`, which has to be a quantity above zero in quotes. Raises SheetError."""
    if not isinstance(value, str):
        raise SheetError(keys, f"{keys[-1]} is {value!r}; expected a number and its unit in {base}, in quotes")
    try:
        found = quantity(value, base)
    except Mistake as mistake:
        raise SheetError(keys, f"{keys[-1]}: {mistake}") from None
    if not (math.isfinite(found) and found > 0):
        raise SheetError(keys, f"{keys[-1]} is {value!r}; expected a finite number above zero")
    return found


def _syntax(error: Exception, text: str) -> str:
    """ "line: what" out of tomllib's "what (at line 3, column 5)"; it gives the line in words only before Python 3.14."""
    what, _, where = str(error).rpartition(" (at ")
    line = re.match(r"line (\d+)", where)
    return f"{line[1] if line else max(len(text.splitlines()), 1)}: not TOML: {what or error}"


def _line(text: str, keys: Keys) -> int:
    """The line on which the value at `keys` begins, or 1.

    tomllib gives no positions, but it can be asked: the value is there from the first prefix of whole lines that holds it.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    begin = 1
    for number in range(1, len(lines) + 1):
        try:
            found: object = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value of several lines: it began where the last good prefix ended
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None and keys:
            return begin
        begin = number + 1
    return 1
