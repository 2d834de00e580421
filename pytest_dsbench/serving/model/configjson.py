"""Reads a config.json: its fields and their lines, each mistake as one sentence."""

import json
import re
from pathlib import Path
from typing import Any

from ...mistake import Mistake
from ...textfile import text_of
from ...units import show_bytes

#: A config has a few kilobytes; what is larger is another file of the model, such as its weights.
_MOST_BYTES = 4e6
_TOKEN = re.compile(r'("(?:\\.|[^"\\])*")(\s*:)?|[{}\[\]]')


def read_json(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The fields of the file, and on which line each begins. Raises Mistake, "path:line: what"."""
    try:
        folder, size = path.is_dir(), path.stat().st_size
    except OSError as error:
        raise Mistake(f"cannot read the model {path}: {error.strerror}") from None
    if folder:
        raise Mistake(f"{path} is a folder; expected a config.json, such as {path / 'config.json'}")
    if size > _MOST_BYTES:
        raise Mistake(f"{path} has {show_bytes(size)}; expected a config.json, which has a few kilobytes")
    text = text_of(path)
    if not text.strip():
        raise Mistake(f"{path}:1: the file is empty; expected the object of a Hugging Face config.json")
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise Mistake(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets as deep
        raise Mistake(f"{path}:1: not JSON that can be read: {error}") from None
    if not isinstance(values, dict):
        kind = "a list" if isinstance(values, list) else "a single value"
        raise Mistake(f"{path}:1: holds {kind}; expected the object of a Hugging Face config.json")
    return values, _lines(path, text)


def _lines(path: Path, text: str) -> dict[str, int]:
    """The line of each field of the outermost object. Raises Mistake where an object has a field twice."""
    open_objects: list[dict[str, int]] = []
    fields: dict[str, int] = {}
    line, seen = 1, 0
    for token in _TOKEN.finditer(text):
        line, seen = line + text.count("\n", seen, token.start()), token.start()
        if token[2]:
            key = json.loads(token[1])
            if key in open_objects[-1]:
                raise Mistake(f"{path}:{line}: field {key!r} stands twice, first on line {open_objects[-1][key]}")
            open_objects[-1][key] = line
        elif token[0] in ("{", "["):
            open_objects.append(fields if not open_objects else {})
        elif token[0] in ("}", "]"):
            open_objects.pop()
    return fields
