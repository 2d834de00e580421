"""Case: an operator at some dimensions, and where that was declared."""

import re
from contextlib import suppress

import msgspec

from .mistake import Mistake
from .operator import Operator
from .record import Record

#: More cases in one file are a typing error in its sweeps, not a plan.
MOST_CASES = 100_000


class Provenance(Record):
    """Where a shape comes from. Every field is optional; none of them is part of a case's identity."""

    #: id in the published list the file's `source` names
    id: int | None = None
    #: id of the published row whose true size this is
    recovers: int | None = None
    #: framework that runs this shape in production
    framework: str | None = msgspec.field(default=None, name="from")
    #: tensor-parallel size it was seen at, or the published word for it
    tp: int | str | None = None
    #: calls in the production trace, and their mean in us
    calls: int | None = None
    trace_us: float | None = None
    #: published time in us, with the library that was measured; the device is the file's `production_on`
    production_us: float | None = None
    library: str | None = None
    #: why a tag is there
    note: str | None = None


class Case(Record):
    """One shape of one operator, and where it was declared."""

    op: Operator
    label: str
    tags: tuple[str, ...] = ()
    #: importance of the operator in production, as published
    importance: float | None = None
    provenance: Provenance = Provenance()
    source: str | None = None
    production_on: str | None = None
    #: the model that it follows from; None where a shape file has it
    model: str | None = None
    path: str
    line: int

    @property
    def where(self) -> str:
        """`path:line` of the row."""
        return f"{self.path}:{self.line}"


class Broken(Record):
    """A row or file that could not be read: one sentence, and the operator it was meant for where that can be told."""

    operator: str | None
    path: str
    line: int
    sentence: str
    #: those that could be read: whoever selects by them must not miss what is broken among the selected
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.sentence}"


#: Marks that would do more than tag a case.
_PYTESTS_OWN = ("skip", "skipif", "xfail", "parametrize", "usefixtures", "filterwarnings", "benchmark")


def check_tags(tags: tuple[str, ...]) -> None:
    """Raises Mistake for a tag that pytest would not take as a mark, or would take for one of its own."""
    for tag in tags:
        if not re.fullmatch(r"[A-Za-z]\w*", tag):
            raise Mistake(f"tag {tag!r} cannot be a pytest mark; expected a letter, then letters, digits and _")
        if tag in _PYTESTS_OWN:
            raise Mistake(f"tag {tag!r} is a mark that means something to pytest; choose another word")


def readable_tags(*words: object) -> tuple[str, ...]:
    """Of what a broken file has where tags belong, the tags."""
    found = []
    for word in words:
        with suppress(Mistake):
            check_tags((word,) if isinstance(word, str) else ("",))
            found.append(str(word))
    return tuple(dict.fromkeys(found))
