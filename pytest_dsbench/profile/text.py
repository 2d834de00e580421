"""The text of a file that a user wrote."""

from pathlib import Path

from ..mistake import Mistake


def text_of(path: Path) -> str:
    """The text at `path`, without a byte order mark. Raises Mistake where it cannot be read, is not UTF-8, or is empty."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Mistake(f"cannot read the profile {path}: {error.strerror}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise Mistake(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
    if "\x00" in text:
        raise Mistake(f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1}: not UTF-8 text; save the file as UTF-8")
    if not text.strip():
        raise Mistake(f"{path}:1: the file is empty; expected a layer profile")
    return text
