"""Sweeps: a row of a shape file multiplied out, and its formulas evaluated."""

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import msgspec

from . import formula
from .dims import fields, list_fields
from .mistake import Mistake
from .operator import Operator

Dims = dict[str, Any]


def count(cls: type[Operator], dims: Mapping[str, Any]) -> int:
    """How many cases a row makes."""
    for key, value in dims.items():
        if value == []:
            raise Mistake(f"{key!r} is an empty list; a sweep needs at least one value")
    return math.prod(len(value) for key, value in dims.items() if _is_sweep(cls, key, value))


def combinations(cls: type[Operator], dims: Mapping[str, Any], tp: object) -> Iterator[Dims]:
    """The dimensions of every combination of the swept values, the last list turning fastest."""
    axes = [value if _is_sweep(cls, key, value) else [value] for key, value in dims.items()]
    for values in product(*axes):
        yield evaluated(cls, dict(zip(dims, values, strict=True)), tp)


def _is_sweep(cls: type[Operator], key: str, value: object) -> bool:
    """A list is a sweep, unless the dimension is itself a list: then only a list of lists (or formulas) is one."""
    if not isinstance(value, list):
        return False
    return key not in list_fields(cls) or all(isinstance(item, list) or formula.is_formula(item) for item in value)


def evaluated(cls: type[Operator], dims: Dims, tp: object = None) -> Dims:
    """The dimensions with every formula replaced by its value; helper names are dropped."""
    defaults = {field.name: field.default for field in fields(cls) if field.default is not msgspec.NODEFAULT}
    scope: Dims = {**defaults, **({"tp": tp} if isinstance(tp, int) else {}), **dims}
    waiting = {key: value for key, value in dims.items() if formula.is_formula(value)}
    while waiting:
        ready = [key for key, text in waiting.items() if not formula.names(text) & waiting.keys()]
        if not ready:
            raise Mistake(f"the formulas of {', '.join(waiting)} refer to each other in a circle")
        for key in ready:
            scope[key] = formula.evaluate(waiting.pop(key), scope)
    return {key: scope[key] for key in dims if not key.startswith("_")}
