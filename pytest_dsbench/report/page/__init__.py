"""The web page: a collection as one HTML file that needs no network, no server and no other file."""

from pathlib import Path

from ...gate.baseline import replace
from ...mistake import Mistake
from ...results import Collection
from .assembly import render

__all__ = ["render", "write"]


def write(collection: Collection, path: Path) -> None:
    """Writes the page, as a whole or not at all. Raises Mistake where it cannot, and where jinja2 or bokeh is missing."""
    text = render(collection)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, text)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror or error}") from None
