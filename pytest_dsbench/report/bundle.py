"""The report of some runs as a folder: tables, a summary, pictures and a page."""

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ..mistake import Mistake
from ..results import Collection
from ..units import show_count
from . import files

#: Folders within the report whose files are all ours, by suffix.
_OURS = {"kernels": (".csv",), "pictures": (".png", ".svg")}
PAGE = "index.html"


def bundle(collection: Collection, folder: Path, version: str) -> Iterator[str]:
    """Writes the report; a line for each part, with what was left out and why. Raises Mistake where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        written = list(files.write(collection, folder, version))
    except OSError as error:
        raise Mistake(f"cannot write the report to {folder}: {error.strerror or error}") from None
    paths = [one for one in written if isinstance(one, Path)]
    tables = sum(one.parent != folder for one in paths)
    yield f"{', '.join(one.name for one in paths if one.parent == folder)} and {show_count(tables, 'table')} in kernels/"
    yield from (one for one in written if isinstance(one, str))
    yield from _pictures(collection, folder)
    yield from _page(collection, folder)


def _clear(folder: Path) -> None:
    """What an older report in this place had, and this one may not have."""
    if (folder / "results.json").is_file():
        for name, suffixes in _OURS.items():
            for path in (folder / name).glob("*"):
                if path.suffix in suffixes:
                    path.unlink()


def _pictures(collection: Collection, folder: Path) -> Iterator[str]:
    if missing := _missing("matplotlib"):
        yield f"no pictures: {missing}"
        return
    from .plots import draw

    with warnings.catch_warnings():
        # A library's own warnings must not end a run whose warnings are errors: everything is measured by now.
        warnings.simplefilter("ignore")
        drawn = draw(collection, folder / "pictures")
    yield f"{show_count(len(drawn.pictures), 'picture')} in pictures/, each as .png and .svg"
    yield from drawn.left_out


def _page(collection: Collection, folder: Path) -> Iterator[str]:
    if missing := _missing("jinja2", "bokeh"):
        yield f"no {PAGE}: {missing}"
        return
    from .page import write

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(collection, folder / PAGE)
    yield f"page: {folder / PAGE}"


def _missing(*packages: str) -> str | None:
    names = [name for name in packages if find_spec(name) is None]
    return f"{' and '.join(names)} not installed; pip install pytest-dsbench[report] brings it" if names else None
