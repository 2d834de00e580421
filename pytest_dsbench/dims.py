"""A shape from and as text: the label of a case, the `dim=value` of a command line, the formulas of a model."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, get_origin

import msgspec

from . import formula
from .mistake import Mistake
from .operator import Operator
from .operators import find
from .units import Fp8Dtype


@cache
def fields(cls: type[Operator]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The dimensions of an operator; looked up once, since msgspec reads the annotations anew each time."""
    return tuple(msgspec.structs.fields(cls))


@cache
def list_fields(cls: type[Operator]) -> frozenset[str]:
    """The dimensions of an operator that are lists themselves, such as the lengths of a ragged batch."""
    kinds = {field.name: field.type for field in fields(cls)}
    bare = {name: kind.__origin__ if get_origin(kind) is Annotated else kind for name, kind in kinds.items()}
    return frozenset(name for name, kind in bare.items() if get_origin(kind) is tuple)


def describe(op: Operator) -> str:
    """A case's label: every dimension without a default and every other one that differs from it; usable with -k."""
    values = ((field, getattr(op, field.name)) for field in fields(type(op)))
    return "-".join(_part(field.name, value) for field, value in values if value != field.default)


def _part(name: str, value: object) -> str:
    if isinstance(value, str):
        return value if name == "dtype" else f"{name}_{value}"
    return f"{name}{_run_lengths(value) if isinstance(value, tuple) else value}"


def _run_lengths(values: tuple[int, ...]) -> str:
    """(256, 256, 17) -> "256x2+17"; a long mixed batch is cut and counted, so that a test's name stays a name."""
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1] + 1)
        else:
            runs.append((value, 1))
    shown = [f"{value}x{times}" if times > 1 else f"{value}" for value, times in runs]
    return "+".join(shown) if len(shown) <= 6 else f"{'+'.join(shown[:5])}+{len(values)}sum{sum(values)}"


def built(operator: str, given: Mapping[str, Any], scope: Mapping[str, Any], fp8: Fp8Dtype) -> Operator:
    """The operator at dimensions that are values, or formulas over the names of `scope`. Raises Mistake for what is wrong.

    `fp8`: the encoding of the device, for an operator that has a dimension `fp8` and is given none, as in shape files.
    """
    cls = find(operator)
    encoding = {"fp8": fp8} if "fp8" in cls.__struct_fields__ else {}
    return cls.build({**encoding, **{key: formula.resolve(value, scope) for key, value in given.items()}})


def as_row(op: Operator) -> str:
    """The shape as a row of a shape file: "{ tokens = 3, hidden = 40 }"; what has its default is left out."""
    values = ((field, getattr(op, field.name)) for field in fields(type(op)))
    return "{ " + ", ".join(f"{field.name} = {_toml(value)}" for field, value in values if value != field.default) + " }"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, tuple) else f"{value}"


def read_dims(cls: type[Operator], given: Iterable[str]) -> dict[str, Any]:
    """Dimensions as the command line gives them: "tokens=4096", "seq_lens=720,1200". Raises Mistake."""
    dims: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise Mistake(f"{text!r} is not a dimension; expected dim=value, such as {cls.__struct_fields__[0]}=4096")
        items = value.split(",") if value else []
        dims[key] = [_value(item) for item in items] if key in list_fields(cls) else _value(value)
    return dims


def _value(text: str) -> bool | int | float | str:
    """A value as TOML would read it; what is no number and no truth is a word. Python's own True and False are understood."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
