"""Shape files and model files -> Cases. What is broken in one becomes a Broken; it never stops the others."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import modelfile, shapefile
from .case import Broken, Case, Provenance
from .operator import Operator
from .record import Record
from .tables import AtLine, parsed
from .units import Fp8Dtype

__all__ = ["Broken", "Case", "Provenance", "Shapes", "bundled", "load"]


class Shapes(Record):
    """All cases of some shape files, in file order, and what was broken."""

    cases: tuple[Case, ...]
    broken: tuple[Broken, ...]

    def of(self, operator: str) -> tuple[Case, ...]:
        """The cases of one operator."""
        return tuple(case for case in self.cases if case.op.name == operator)


def bundled() -> tuple[Path, ...]:
    """The shape files and model files that come with the package: beside it in a checkout, inside it when installed."""
    installed = Path(__file__).parent / "data"
    home = installed if installed.is_dir() else Path(__file__).parent.parent
    return home / "shapes", home / "models"


def load(paths: Iterable[Path], root: Path | None = None, fp8: Fp8Dtype = "fp8_e4m3") -> Shapes:
    """Reads shape files and model files, or all `*.toml` below a folder; a model file is one that names a `model`.

    Paths in messages are relative to `root` where they lie below it. Where a model comes to a shape that is already there, that
    case gets its tags.

    `fp8`: the encoding of the device, for rows of operators that have a dimension `fp8` and give none.
    """
    cases: dict[Operator, Case] = {}
    broken: list[Broken] = []
    for path in paths:
        if not path.exists():
            broken.append(Broken(operator=None, path=_shown(path, root), line=1, sentence="no such shape file or folder"))
        for file in sorted(path.rglob("*.toml")) if path.is_dir() else [path] if path.exists() else []:
            for found in _read(file, _shown(file, root), fp8):
                one = _once(found, cases.get(found.op)) if isinstance(found, Case) else found
                if isinstance(one, Case):
                    cases[one.op] = one
                else:
                    broken.append(one)
    return Shapes(cases=tuple(cases.values()), broken=tuple(broken))


def _shown(path: Path, root: Path | None) -> str:
    return str(path.relative_to(root)) if root is not None and path.is_relative_to(root) else str(path)


def _once(case: Case, first: Case | None) -> Case | Broken:
    """A case beside the one of the same shape that is already there."""
    if first is None:
        return case
    if case.model is not None:
        return first.replace(tags=tuple(dict.fromkeys(first.tags + case.tags)))
    if first.model is not None:
        # A row of a shape file says more of a shape than a model that comes to it.
        return case.replace(tags=tuple(dict.fromkeys(case.tags + first.tags)))
    sentence = f"duplicate case: {case.op.name} at {case.label} is already declared at {first.where}"
    return Broken(operator=case.op.name, path=case.path, line=case.line, sentence=sentence, tags=case.tags)


def _read(file: Path, shown: str, fp8: Fp8Dtype) -> Iterator[Case | Broken]:
    """The cases of one file, in order, each mistake as a Broken in its place."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        yield Broken(operator=None, path=shown, line=1, sentence=f"cannot be read: {error.strerror}")
        return
    try:
        data = parsed(text)
    except AtLine as error:
        guess = re.search(r"""^\s*operator\s*=\s*["']([^"']*)["']""", text, re.MULTILINE)
        yield Broken(operator=guess[1] if guess else None, path=shown, line=error.line, sentence=str(error))
        return
    reader = modelfile.read if "model" in data and "operator" not in data else shapefile.read
    yield from reader(text, data, shown, fp8)
