"""A user's mistake: one sentence that says where, what was expected, and what the alternatives are."""

from collections.abc import Iterable
from difflib import get_close_matches


class Mistake(Exception):
    """Something the user wrote is wrong; `str()` of it is the whole sentence to show, without a traceback."""


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """The sentence for a word that is not one of `known`: the nearest one if there is one, and all of them."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {what} {word!r}; {hint}known: {', '.join(names) or 'none'}"
