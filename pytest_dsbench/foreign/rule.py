"""How named values become the dimensions of an operator: columns of a table, parameters of a bench, axes of a workload.

A mapping is `dim=name`, or `dim==formula` over all names, in the language of shape files: `kv_lens==[kv_len] * batch_size`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import formula, sweep
from ..dims import list_fields, read_dims
from ..mistake import Mistake, unknown
from ..operator import Operator
from ..record import Record
from .values import lengths, value


class Rule(Record):
    """Where each dimension of an operator comes from."""

    #: dimension -> name of the value
    sources: dict[str, str] = {}
    #: dimension -> formula over all values
    formulas: dict[str, str] = {}
    #: dimension -> what it always is
    fixed: dict[str, Any] = {}

    @property
    def used(self) -> set[str]:
        """Names of values that it reads, those in formulas as identifiers."""
        return {*self.sources.values(), *(name for text in self.formulas.values() for name in formula.names(text))}

    def dims(self, cls: type[Operator], values: Mapping[str, Any]) -> dict[str, Any]:
        """The dimensions at some values, strings among them still to be read. Raises Mistake, naming what has a wrong value."""
        found = {dim: _read(cls, dim, name, values[name]) for dim, name in self.sources.items() if values[name] != ""}
        names = set().union(*(formula.names(text) for text in self.formulas.values()))
        scope = {identifier(name): one for name, one in values.items() if identifier(name) in names}
        read = {name: _whole(name, one) for name, one in scope.items()}
        whole = sweep.evaluated(cls, {**read, **self.fixed, **found, **self.formulas})
        return {dim: one for dim, one in whole.items() if dim in cls.__struct_fields__}


def rule(
    cls: type[Operator], names: Sequence[str], mapping: Mapping[str, str], fixed: Mapping[str, Any], by_name: bool = True
) -> Rule:
    """The rule for values of these names: what is mapped, then, if asked, what bears the name of a dimension, case aside.

    Raises Mistake for a dimension that is mapped from nothing, or twice over.
    """
    formulas = {dim: text for dim, text in mapping.items() if formula.is_formula(text)}
    sources = {dim: name for dim, name in mapping.items() if dim not in formulas}
    for dim in (*mapping, *fixed):
        if dim not in cls.__struct_fields__:
            raise Mistake(unknown(f"dimension of {cls.name}", dim, cls.__struct_fields__))
    for dim, name in sources.items():
        sources[dim] = matching(name, names, f"--map {dim}={name}")
    for dim, text in formulas.items():
        known = {*map(identifier, names), *cls.__struct_fields__}
        for name in formula.names(text):
            if name not in known:
                raise Mistake(f"{dim}={text}: {unknown('name', name, known)}")
    for dim in cls.__struct_fields__ if by_name else ():
        taken = dim in formulas or dim in sources
        named = [name for name in names if name.casefold() == dim.casefold() and name not in sources.values()]
        if dim in fixed and (taken or named):
            raise Mistake(
                f"dimension {dim!r} is set to {fixed[dim]!r} and also read from {sources.get(dim) or dim!r}; choose one"
            )
        if named and not taken:
            sources[dim] = dim if dim in named else named[0]
    return Rule(sources=sources, formulas=formulas, fixed=dict(fixed))


def matching(name: str, names: Iterable[str], what: str) -> str:
    """The one of `names` that is meant by `name`, case and punctuation aside. Raises Mistake, beginning with `what`."""
    names = list(names)
    found = [one for one in names if one == name] or [one for one in names if one.casefold() == name.casefold()]
    found = found or [one for one in names if identifier(one).casefold() == identifier(name).casefold()]
    if not found:
        raise Mistake(f"{what}: {unknown('name', name, names)}")
    return found[0]


def split(text: str) -> dict[str, str]:
    """Reads "m=M,kv_lens==[kv_len] * batch_size" as target -> source; a comma in brackets separates nothing. Raises Mistake."""
    found: dict[str, str] = {}
    for part in _parts(text):
        target, equals, source = (one.strip() for one in part.partition("="))
        if not (target and equals and source.lstrip("= ")):
            raise Mistake(f"--map {part.strip()!r}: expected target=column or target==formula, such as m=M or n==N * tp")
        if target in found:
            raise Mistake(f"--map: {target!r} is mapped twice")
        found[target] = source
    return found


def _parts(text: str) -> list[str]:
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def settings(cls: type[Operator], given: Iterable[str]) -> dict[str, Any]:
    """Reads `--set dim=value` as dimensions; a formula stays one. Raises Mistake."""
    found: dict[str, Any] = {}
    for text in given:
        dim, _, source = text.partition("=")
        if dim in found:
            raise Mistake(f"--set: {dim!r} is set twice")
        found |= {dim: source} if formula.is_formula(source) else read_dims(cls, [text])
    return found


def identifier(name: str) -> str:
    """A name as formulas can use it: "KV len" -> "KV_len"."""
    return re.sub(r"\W+", "_", name.strip()).strip("_")


def _read(cls: type[Operator], dim: str, name: str, given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return lengths(given) if dim in list_fields(cls) else value(given)
    except Mistake as error:
        raise Mistake(f"{name}: {error}") from None


def _whole(name: str, given: Any) -> Any:
    """A value that a formula uses."""
    try:
        return value(given) if isinstance(given, str) else given
    except Mistake as error:
        raise Mistake(f"{name}: {error}") from None
