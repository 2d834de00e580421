"""The table that says which of our operators a recorded operation is, and at which dimensions."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .. import formula
from ..formula import Condition
from ..mistake import Mistake, unknown
from ..operator import Operator
from ..operators import find
from ..positions import row_lines
from ..record import Record
from ..tables import AtKey, AtLine, converted, parsed
from ..textfile import text_of
from .events import Signature

#: C++ names of element types in our words; any other is kept as it is.
DTYPES = {
    "c10::BFloat16": "bf16",
    "c10::Half": "fp16",
    "float": "fp32",
    "double": "fp64",
    "c10::Float8_e4m3fn": "fp8_e4m3",
    "c10::Float8_e4m3fnuz": "fp8_e4m3fnuz",
    "c10::Float8_e5m2": "fp8_e5m2",
    "int": "int32",
    "long": "int64",
    "long int": "int64",
    "signed char": "int8",
    "unsigned char": "uint8",
    "bool": "bool",
}
#: What "Input type" says of an input that is no tensor.
_PLAIN = ("", "Scalar", "ScalarList", "TensorList", "GenericList")

NOT_RECORDED = "its inputs were not recorded; record the trace with record_shapes=True"


class Entry(Record):
    """One row of the table."""

    #: a regular expression that the whole name of the operation matches
    name: str
    #: our operator
    operator: str
    #: what the operation's inputs are called in the formulas below, in their order
    inputs: tuple[str, ...] = ()
    #: the operator's dimensions: formulas over the inputs, or values
    dims: dict[str, Any] = {}
    #: conditions that must hold, each with what to say where it does not
    needs: dict[str, str] = {}
    #: why the dimensions cannot be known; an entry has this or `dims`
    reason: str = ""


class Verdict(Record):
    """What the table says of an operation."""

    #: our operator at its dimensions; None where they cannot be known
    op: Operator | None = None
    #: name of our operator
    operator: str
    #: why there is no `op`
    reason: str = ""


class Mapping:
    """The table of this package, behind those of the user."""

    def __init__(self, files: Iterable[Path] = ()) -> None:
        """Raises Mistake, as `path:line: what`, for a table that cannot be used."""
        own = Path(__file__).parent / "mapping.toml"
        self._entries = [entry for file in (*files, own) for entry in _entries(file)]
        self._by_name: dict[str, list[Entry]] = {}

    def verdict(self, signature: Signature) -> Verdict | None:
        """The first entry that fits an operation; where none does but one has its name, why; None for a name in no entry.

        An entry whose needs do not hold lets the next one try; an entry with a reason ends the search.
        """
        entries = self._of(signature.name)
        if not entries:
            return None
        if signature.dims is None:
            return Verdict(operator=entries[0].operator, reason=entries[0].reason or NOT_RECORDED)
        refusals: list[Verdict] = []
        for entry in entries:
            if entry.reason:
                return refusals[0] if refusals else Verdict(operator=entry.operator, reason=entry.reason)
            try:
                return Verdict(op=_build(entry, scope(entry.inputs, signature)), operator=entry.operator)
            except Mistake as error:
                refusals.append(Verdict(operator=entry.operator, reason=str(error)))
        return refusals[0]

    def _of(self, name: str) -> list[Entry]:
        if name not in self._by_name:
            self._by_name[name] = [entry for entry in self._entries if _pattern(entry.name).fullmatch(name)]
        return self._by_name[name]


@cache
def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise Mistake(f"name {text!r} is not a regular expression: {error}") from None


@cache
def _condition(text: str) -> Condition:
    return Condition(text)


def _build(entry: Entry, known: dict[str, Any]) -> Operator:
    """The operator that an entry makes of some inputs. Raises Mistake, the reason why there is none."""
    for condition, otherwise in entry.needs.items():
        try:
            holds = _condition(condition).holds(known)
        except Mistake as error:
            raise Mistake(f"{condition!r} cannot be answered from its inputs: {error}") from None
        if not holds:
            raise Mistake(otherwise)
    dims = {name: _dimension(value, known) for name, value in entry.dims.items()}
    return find(entry.operator).build({name: value for name, value in dims.items() if value is not None})


def _dimension(value: Any, known: dict[str, Any]) -> Any:
    """A value of a dimension; None leaves it at the operator's default."""
    if not formula.is_formula(value):
        return value
    bare = value.lstrip()[1:].strip()
    plain = bare not in known or (isinstance(known[bare], int) and not isinstance(known[bare], bool))
    return formula.evaluate(value, known) if plain else known[bare]


def scope(names: tuple[str, ...], signature: Signature) -> dict[str, Any]:
    """The names that an entry may use.

    Of a tensor x: x_0, x_1, ... (its sizes), x_rank, x_count, x_last, x_rows (the product of all sizes but the last) and x_type;
    of a value its own name. `x_given` is false for None, and equals 0 in a condition. What was not recorded has no name here.
    """
    known: dict[str, Any] = {}
    for place, name in enumerate(names):
        kind = signature.types[place] if place < len(signature.types) else ""
        sizes = signature.dims[place] if signature.dims is not None and place < len(signature.dims) else None
        if kind not in _PLAIN and isinstance(sizes, list) and all(isinstance(size, int) for size in sizes):
            known |= _tensor(name, sizes) | {f"{name}_type": DTYPES.get(str(kind), str(kind)), f"{name}_given": True}
        elif signature.values is not None and place < len(signature.values):
            text = signature.values[place]
            known[name] = _value(text)
            known[f"{name}_given"] = text not in ("", "None")
        elif kind == "" and sizes is not None:
            known[f"{name}_given"] = False
    return known


def _tensor(name: str, sizes: list[int]) -> dict[str, Any]:
    count, last = 1, sizes[-1] if sizes else 1
    for size in sizes:
        count *= size
    facts = {"rank": len(sizes), "count": count, "last": last, "rows": count // last if last else 0}
    return {f"{name}_{key}": value for key, value in facts.items()} | {f"{name}_{n}": size for n, size in enumerate(sizes)}


def _value(text: object) -> Any:
    """A value as the profiler writes it: "True", "1e-05", "[64]", "" for None; what is none of these stays text."""
    words = {"": None, "None": None, "True": True, "False": False}
    if not isinstance(text, str) or text in words:
        return words.get(text) if isinstance(text, str) else text
    if text.startswith("[") and text.endswith("]"):
        items = [_value(item.strip()) for item in text[1:-1].split(",") if item.strip()]
        return items if all(isinstance(item, int) for item in items) else text
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and "e" not in text else number


def _entries(file: Path) -> Iterator[Entry]:
    text = text_of(file)
    try:
        data = parsed(text)
    except AtLine as error:
        raise Mistake(f"{file}:{error.line}: {error}") from None
    rows = data.get("op")
    if list(data) != ["op"] or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Mistake(f"{file}: its keys are {', '.join(data) or 'none'}; expected [[op]] blocks alone, see docs/traces.md")
    lines = row_lines(text, "op")
    for number, row in enumerate(rows):
        try:
            yield _checked(converted(row, Entry, "key of an [[op]]"))
        except (AtKey, Mistake) as error:
            raise Mistake(f"{file}:{lines[number] if number < len(lines) else 1}: {error}") from None


def _checked(entry: Entry) -> Entry:
    """Raises Mistake where an entry could never be right."""
    _pattern(entry.name)
    operator = find(entry.operator)
    if bool(entry.dims) == bool(entry.reason):
        raise Mistake(f"{entry.name}: expected either dims or a reason why they cannot be known")
    for condition in entry.needs:
        _condition(condition)
    for name, value in entry.dims.items():
        if name not in operator.__struct_fields__:
            raise Mistake(unknown(f"dimension of {entry.operator}", name, operator.__struct_fields__))
        if formula.is_formula(value):
            _names(entry, formula.names(value))
    for condition in entry.needs:
        _names(entry, set(_condition(condition).names))
    return entry


def _names(entry: Entry, used: set[str]) -> None:
    for name in sorted(used):
        if not any(re.fullmatch(rf"{re.escape(one)}(_(\d+|rank|rows|last|count|type|given))?", name) for one in entry.inputs):
            raise Mistake(f"{entry.name}: {name!r} is of no input; inputs are {', '.join(entry.inputs) or 'none'}")
