"""Sweeps: cases of an operator that differ in one number alone, found from the cases, whatever the number is called."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ...record import Record
from ...results import Result

#: Values that make a sweep, at least.
LEAST = 3
#: What the number of items of a ragged list is called.
SEQUENCES = "sequences"
#: Of the sweeps that are chosen, the share that is kept for ragged ones: there are fewer points in them than in those of tokens.
_RAGGED = 1 / 3

#: operator, dimension, whether it is ragged, everything else
_Key = tuple[str, str, bool, str]


class Sweep(Record):
    """The times of one operator along one dimension."""

    operator: str
    #: what is swept: a dimension, "sequences", or the dimensions whose lengths are equal, such as "q_lens = kv_lens"
    dim: str
    #: whether that is the count or the length of ragged lists, such as the batch and the context of an attention
    ragged: bool
    #: what is not
    fixed: dict[str, Any]
    #: by provider the results in the order of the dimension, each with its value
    curves: dict[str, tuple[tuple[float, Result], ...]]

    @property
    def points(self) -> int:
        """How many times there are."""
        return sum(map(len, self.curves.values()))

    @property
    def values(self) -> int:
        """How many values the dimension has, at the provider that has most."""
        return max(map(len, self.curves.values()))


def numbers(dims: Mapping[str, Any]) -> dict[str, Any]:
    """The dimensions with each list of equal lengths as two numbers, its count and its length.

    Counts that all lists share are one number, the sequences; equal lengths are one, since they are swept together.
    """
    lists = {name: value for name, value in dims.items() if _even(value)}
    found = {name: value for name, value in dims.items() if name not in lists}
    if not lists:
        return found
    counts = {len(value) for value in lists.values()}
    if len(counts) == 1:
        found[SEQUENCES if SEQUENCES not in dims else f"{SEQUENCES} of lists"] = counts.pop()
    else:
        found |= {f"count of {name}": len(value) for name, value in lists.items()}
    lengths: dict[int, list[str]] = {}
    for name, value in lists.items():
        lengths.setdefault(value[0], []).append(name)
    return found | {" = ".join(names): length for length, names in lengths.items()}


def _even(value: object) -> bool:
    return isinstance(value, list | tuple) and len(set(map(repr, value))) == 1 and _number(value[0])


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def sweeps(found: Iterable[Result]) -> list[Sweep]:
    """Every sweep, those with the most times first."""
    groups: dict[_Key, dict[str, dict[float, Result]]] = {}
    rest: dict[_Key, dict[str, Any]] = {}
    for one in found:
        dims = numbers(one.case.dims)
        for name, value in dims.items():
            if not _number(value) or value <= 0:
                continue
            fixed = {other: given for other, given in dims.items() if other != name}
            ragged = not _number(one.case.dims.get(name))
            key = (one.case.operator, name, ragged, json.dumps(fixed, sort_keys=True, default=str))
            rest[key] = fixed
            groups.setdefault(key, {}).setdefault(one.case.provider, {})[float(value)] = one
    made = [
        Sweep(
            operator=operator,
            dim=dim,
            ragged=ragged,
            fixed=rest[operator, dim, ragged, text],
            curves={provider: tuple(sorted(curve.items())) for provider, curve in sorted(curves.items())},
        )
        for (operator, dim, ragged, text), curves in groups.items()
    ]
    return sorted((one for one in made if one.values >= LEAST), key=lambda one: (-one.points, one.operator, one.dim))


def chosen(found: Iterable[Sweep], most: int) -> list[Sweep]:
    """`most` sweeps at most: some ragged ones, the longest of each operator, then others; those of one operator together."""
    found = list(found)
    ragged = list({(one.operator, one.dim): one for one in reversed(found) if one.ragged}.values())[::-1]
    first = list({one.operator: one for one in reversed(found)}.values())[::-1]
    kept: list[Sweep] = []
    for one in (*_longest(ragged)[: math.ceil(most * _RAGGED)], *_longest(first), *found):
        if one not in kept and len(kept) < most:
            kept.append(one)
    order = {name: i for i, name in enumerate(dict.fromkeys(one.operator for one in _longest(kept)))}
    return sorted(kept, key=lambda one: order[one.operator])


def _longest(found: Iterable[Sweep]) -> list[Sweep]:
    return sorted(found, key=lambda one: -one.points)
