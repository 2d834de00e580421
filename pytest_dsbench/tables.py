"""Tables of a TOML file as records, each mistake as one sentence at its key."""

import re
import tomllib
from typing import Any, TypeVar

import msgspec

from .mistake import Mistake, unknown
from .record import Record

R = TypeVar("R", bound=Record)


class AtLine(Mistake):
    """What is wrong at one line; whoever knows the file says which."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


def parsed(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises AtLine where it is none."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets as deep, are no TOML error
        at = re.search(r"at line (\d+)", str(error))
        raise AtLine(int(at[1]) if at else max(len(text.splitlines()), 1), f"not TOML: {error}") from None


class AtKey(Mistake):
    """What is wrong with the value of one key; whoever has the text finds the line."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


def converted(raw: dict[str, Any], cls: type[R], what: str) -> R:
    """The table as a record of `cls`; `what` is such as "key of a shape file". Raises AtKey for an unknown key, a wrong value."""
    names = [field.encode_name for field in msgspec.structs.fields(cls)]
    for key in raw:
        if key not in names:
            raise AtKey(key, unknown(what, key, names))
    try:
        return msgspec.convert(raw, cls)
    except msgspec.ValidationError as error:
        raise AtKey(*_sentence(error)) from None


def _sentence(error: msgspec.ValidationError) -> tuple[str, str]:
    """The key that msgspec complains about, and its message in the words of TOML."""
    message, _, place = str(error).partition(" - at `$.")
    key = re.split(r"[^A-Za-z0-9_]", place, maxsplit=1)[0]
    message = message.replace("`", "").replace("object", "table").replace("array", "list").replace(" | null", "")
    missing = re.fullmatch(r"Object missing required field (\w+)", message)
    if missing and not key:
        return "", f"key {missing[1]!r} is missing"
    return key, f"key {key!r}: {message[0].lower()}{message[1:]}"
