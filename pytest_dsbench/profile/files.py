"""Finds and reads layer profiles: the packaged ones by name, anybody's by path."""

from collections.abc import Iterable
from pathlib import Path

from .. import shapes
from ..mistake import Mistake, unknown
from ..modelfile import names
from ..tables import AtLine
from ..textfile import text_of
from . import csvfile, tomlfile
from .check import check
from .record import Profile

__all__ = ["bundled", "load", "named", "names"]

_READERS = {".toml": tomlfile.read, ".csv": csvfile.read}


def bundled() -> Path:
    """The folder of the profiles that come with the package."""
    return shapes.bundled()[0].parent / "profiles"


def load(path: Path) -> Profile:
    """The profile at a path that ends in .toml or .csv. Raises Mistake, "path:line: what", where it is wrong."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise Mistake(f"{path} is not a layer profile; expected a file that ends in .csv or .toml")
    text = text_of(path)
    if not text.strip():
        raise Mistake(f"{path}:1: the file is empty; expected a layer profile")
    try:
        found = reader(text, str(path))
        check(found)
    except AtLine as error:
        raise Mistake(f"{path}:{error.line}: {error}") from None
    return found


def named(name_or_path: str, folders: Iterable[Path]) -> Profile:
    """The profile of that name in the first of some folders that has it, or the one at a path. Raises Mistake."""
    if Path(name_or_path).suffix.lower() in _READERS or Path(name_or_path).exists():
        return load(Path(name_or_path))
    paths = names(folders)
    if name_or_path not in paths:
        raise Mistake(f"{unknown('layer profile', name_or_path, paths)}, or the path of a .csv or .toml file")
    return load(paths[name_or_path])
