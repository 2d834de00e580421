"""Our calls against a library's definitions."""

from collections.abc import Iterable

from ..record import Record
from .calls import Call
from .definitions import defines, signature
from .library import Library


class Misfit(Record):
    """A call that a library does not take."""

    #: "missing": it does not define the function; "arguments": it defines it otherwise
    kind: str
    #: module.name of the function
    title: str
    sentence: str


def misfits(called: Iterable[Call], library: Library) -> tuple[Misfit, ...]:
    """Every call that `library` does not take, in order; empty where all of them fit."""
    return tuple(one for one in (_misfit(call, library) for call in called) if one is not None)


def _misfit(call: Call, library: Library) -> Misfit | None:
    named = f"{library.distribution} {library.version}"
    if not defines(library, call.module, call.name):
        return Misfit(kind="missing", title=call.title, sentence=f"{named} does not define {call.title}")
    if call.positional is None:
        return None
    known = signature(library, call.module, call.name)
    if known is None:
        return Misfit(kind="missing", title=call.title, sentence=f"{named} defines {call.title} as something not to be called")
    try:
        known.bind(*[None] * call.positional, **dict.fromkeys(call.keywords))
    except TypeError as error:
        return Misfit(kind="arguments", title=call.title, sentence=f"{named}: {call.title} called at {call.where}: {error}")
    return None
