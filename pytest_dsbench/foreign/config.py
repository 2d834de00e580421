"""An import file: what a published table's columns mean, kept beside it, so that whoever has both imports it in the same way."""

from pathlib import Path
from typing import Any, Literal

from ..mistake import Mistake
from ..positions import key_line
from ..record import Record
from ..tables import AtKey, AtLine, converted, parsed
from ..textfile import text_of


class Definition(Record):
    """What the workloads of one family of definitions are to us."""

    operator: str
    #: dimension -> axis, or formula over the axes and the numbers in the name
    map: dict[str, str] = {}
    set: dict[str, Any] = {}
    #: which workloads the axes determine, as a condition over them, and why the others cannot be mapped
    when: str | None = None
    otherwise: str = "its axes do not determine the shape"


class Config(Record):
    """All that can be said about foreign files, on the command line or in an import file."""

    operator: str | None = None
    #: data sheet of rows that do not name their GPU
    hw: str | None = None
    provider: str | None = None
    #: version of the provider
    version: str | None = None
    #: unit of a time column that does not name one
    unit: Literal["s", "ms", "us", "ns"] | None = None
    #: dimension or role -> column or formula
    map: dict[str, str] = {}
    #: dimension -> what it always is
    set: dict[str, Any] = {}
    #: columns that are passed over
    ignore: tuple[str, ...] = ()
    #: GPU as the file names it -> data sheet
    gpus: dict[str, str] = {}
    #: where the numbers come from, and what they are
    source: str | None = None
    title: str | None = None
    #: when it was measured, ISO 8601
    date: str | None = None
    #: name of a definition of flashinfer-bench, with {axis} for the numbers in it -> what it is to us
    definitions: dict[str, Definition] = {}

    def over(self, other: "Config") -> "Config":
        """This one, and where it says nothing the other."""
        merged: dict[str, Any] = {}
        for name in self.__struct_fields__:
            ours, theirs = getattr(self, name), getattr(other, name)
            if isinstance(ours, dict):
                merged[name] = theirs | ours
            elif isinstance(ours, tuple):
                merged[name] = (*theirs, *ours)
            else:
                merged[name] = theirs if ours is None else ours
        return Config(**merged)


def load(path: Path) -> Config:
    """The import file at `path`. Raises Mistake, "path:line: what"."""
    text = text_of(path)
    try:
        return converted(parsed(text), Config, "key of an import file")
    except AtLine as error:
        raise Mistake(f"{path}:{error.line}: {error}") from None
    except AtKey as error:
        raise Mistake(f"{path}:{key_line(text, error.key)}: {error}") from None
