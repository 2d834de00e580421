"""Writes figures to files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...mistake import Mistake
from .style import styled

#: What a picture can be written as.
SUFFIXES = (".png", ".svg")


@styled
def save(figure: Any, folder: Path, name: str) -> list[Path]:
    """Writes a figure as .png and .svg into a folder, which is made. Raises Mistake where that cannot be."""
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return list(_written(figure, paths, "pictures"))


@styled
def save_as(figure: Any, path: Path, option: str) -> None:
    """Writes a figure to one path in a folder that there is. Raises Mistake, naming the option that gave the path."""
    list(_written(figure, [path], option, make=False))


def checked(path: Path, option: str) -> None:
    """Raises Mistake for a path that is no picture we can write."""
    if path.suffix.lower() not in SUFFIXES:
        raise Mistake(f"{option}: {path} is not {' or '.join(SUFFIXES)}; the suffix of the file says what is drawn")


def _written(figure: Any, paths: Sequence[Path], option: str, make: bool = True) -> Iterator[Path]:
    for path in paths:
        # Without a date, the same run gives the same bytes.
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        try:
            if make:
                path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, metadata=metadata)
        except OSError as error:
            raise Mistake(f"{option}: cannot write {path}: {error.strerror or error}") from None
        yield path
