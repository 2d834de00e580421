"""The files of a library: in a wheel, or where it is installed."""

from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile, ZipFile

from ..mistake import Mistake
from .schemas import Schemas


class Library(Protocol):
    """The files of one distribution."""

    #: as on the package index
    distribution: str
    version: str

    def text(self, path: str) -> str | None:
        """A Python file, by its path from the top; None where there is none."""

    def schema(self, name: str) -> str | None:
        """The schema of an operation that one of its shared libraries registers with torch; None where none does."""


class Wheel:
    """A wheel that was downloaded. Raises Mistake where the file is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        name, _, rest = path.name.partition("-")
        self.distribution, self.version = name.replace("_", "-").lower(), rest.partition("-")[0]
        try:
            self._files = ZipFile(path)
        except (BadZipFile, OSError) as error:
            raise Mistake(f"{path}: not a wheel: {error}") from None
        self._names = set(self._files.namelist())

    def text(self, path: str) -> str | None:
        """A Python file, by its path from the top; None where there is none."""
        return self._files.read(path).decode() if path in self._names else None

    def schema(self, name: str) -> str | None:
        """The schema of an operation that one of its shared libraries registers with torch."""
        return self._schemas.find(name)

    @cached_property
    def _schemas(self) -> Schemas:
        return Schemas(self._files.read(name) for name in sorted(self._names) if name.endswith(".so"))


class Installed:
    """A distribution of this environment. Raises Mistake where it is not installed."""

    def __init__(self, distribution: str) -> None:
        self.distribution = distribution
        try:
            self._found = metadata.distribution(distribution)
        except metadata.PackageNotFoundError:
            raise Mistake(f"{distribution} is not installed here") from None
        self.version = self._found.version

    @cached_property
    def _root(self) -> Path:
        return Path(str(self._found.locate_file("")))

    def text(self, path: str) -> str | None:
        """A Python file, by its path from the top; None where there is none."""
        file = self._root / path
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def schema(self, name: str) -> str | None:
        """The schema of an operation that one of its shared libraries registers with torch."""
        return self._schemas.find(name)

    @cached_property
    def _schemas(self) -> Schemas:
        files = [file for file in self._found.files or () if file.name.endswith(".so")]
        return Schemas(Path(str(file.locate())).read_bytes() for file in files)
