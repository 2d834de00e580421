"""Formulas of shape files: `= hidden // _tp`, `= [256] * 130 + [17]`; conditions of limits: `1 <= tokens <= 16`.

Integers and lists of integers, in conditions also words. Python's own parser reads them; only the nodes named here are
evaluated, so neither can call, import or loop.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from .mistake import Mistake, unknown

Value = int | list["Value"]

#: No dimension of a tensor is larger; a result beyond it is a mistake, not a shape.
LIMIT = 2**63 - 1
#: No ragged batch holds more sequences than this.
LONGEST = 1_000_000

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}


def is_formula(value: object) -> bool:
    """Whether a value of a shape file is a formula: a string that begins with `=`."""
    return isinstance(value, str) and value.lstrip().startswith("=")


def names(text: str) -> set[str]:
    """The names a formula uses."""
    return {node.id for node in ast.walk(_parse(text)) if isinstance(node, ast.Name)}


def evaluate(text: str, scope: Mapping[str, object]) -> Value:
    """The value of the formula `text` over the names in `scope`. Raises Mistake, in one sentence."""
    try:
        value = _value(_parse(text), text, scope)
    except RecursionError:
        raise Mistake(f"formula {text[:40]!r}... is too long") from None
    _guard(value, text)
    return value


def resolve(given: object, scope: Mapping[str, Any]) -> object:
    """A value as it is, or what a formula makes of the scope. Raises Mistake as `evaluate` does."""
    if not is_formula(given):
        return given
    text = str(given)
    name = text.lstrip()[1:].strip()
    # A name alone passes on what it stands for, which need not be an integer.
    return scope[name] if name in scope else evaluate(text, scope)


def _parse(text: str) -> ast.expr:
    return _tree(text, text.lstrip()[1:], "formula", "integers and names with + - * // % and brackets")


def _tree(text: str, source: str, what: str, expected: str) -> ast.expr:
    try:
        return ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Mistake(f"{what} {text!r} cannot be read; expected {expected}") from None


class Condition:
    """A condition over dimensions, such as `1 <= tokens <= 16` or `dtype == "bf16" and hidden % 8 == 0`."""

    def __init__(self, text: str) -> None:
        """Raises Mistake where `text` is no condition."""
        self.text = text
        self._root = _tree(text, text, "condition", "a comparison of integers and names, such as 1 <= tokens <= 16")
        if not isinstance(self._root, (ast.Compare, ast.BoolOp)):
            raise Mistake(f"condition {text!r} compares nothing; expected such as 1 <= tokens <= 16")

    @property
    def names(self) -> list[str]:
        """The names it uses, in the order of the text."""
        found = [node for node in ast.walk(self._root) if isinstance(node, ast.Name)]
        return list(dict.fromkeys(node.id for node in sorted(found, key=lambda node: (node.lineno, node.col_offset))))

    def holds(self, scope: Mapping[str, object]) -> bool:
        """Whether it is true over the names in `scope`. Raises Mistake, in one sentence, where it has no answer."""
        return self._holds(self._root, scope)

    def _holds(self, node: ast.expr, scope: Mapping[str, object]) -> bool:
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._holds(part, scope) for part in parts)
            case ast.BoolOp(values=parts):
                return any(self._holds(part, scope) for part in parts)
            case ast.Compare(left=left, ops=ops, comparators=others):
                values = [self._side(side, scope) for side in (left, *others)]
                return all(self._compare(op, a, b) for op, (a, b) in zip(ops, pairwise(values), strict=True))
            case _:
                raise Mistake(f"condition {self.text!r} uses {ast.unparse(node)!r}; expected comparisons joined by and, or")

    def _side(self, node: ast.expr, scope: Mapping[str, object]) -> object:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, (ast.List, ast.Tuple)):
            return [self._side(item, scope) for item in node.elts]
        if isinstance(node, ast.Name) and isinstance(scope.get(node.id), (bool, str)):
            return scope[node.id]
        try:
            return _value(node, self.text, scope)
        except Mistake as error:
            raise Mistake(str(error).replace("formula", "condition", 1)) from None

    def _compare(self, op: ast.cmpop, left: object, right: object) -> bool:
        try:
            return bool(_COMPARISONS[type(op)](left, right))
        except (KeyError, TypeError):
            raise Mistake(f"condition {self.text!r} cannot compare {left!r} with {right!r}") from None


def _value(node: ast.expr, text: str, scope: Mapping[str, object]) -> Value:
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            return _look_up(name, text, scope)
        case ast.List(elts=items):
            return [_value(item, text, scope) for item in items]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _apply(operator.sub, 0, _value(operand, text, scope), text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _apply(_OPERATORS[type(op)], _value(left, text, scope), _value(right, text, scope), text)
        case ast.Call():
            raise Mistake(f"formula {text!r} calls a function; only + - * // % and brackets are allowed")
        case ast.BinOp(op=ast.Div()):
            raise Mistake(
                f"formula {text!r} divides with /; dimensions are integers: use // (rounds down) or -(-a // b) (rounds up)"
            )
        case _:
            raise Mistake(
                f"formula {text!r} uses {ast.unparse(node)!r}; only integers, names, + - * // % and brackets are allowed"
            )


def _look_up(name: str, text: str, scope: Mapping[str, object]) -> Value:
    if name not in scope:
        raise Mistake(f"formula {text!r}: {unknown('name', name, scope)}")
    value = scope[name]
    if isinstance(value, bool) or not isinstance(value, (int, list, tuple)):
        raise Mistake(f"formula {text!r}: {name!r} is {value!r}, not an integer")
    return list(value) if isinstance(value, tuple) else value


def _apply(op: Callable[[Any, Any], Any], left: Value, right: Value, text: str) -> Value:
    for length, times in ((left, right), (right, left)):
        if op is operator.mul and isinstance(length, list) and isinstance(times, int) and len(length) * max(times, 0) > LONGEST:
            raise Mistake(f"formula {text!r} makes a list of {len(length) * times:,} items; at most {LONGEST:,} are allowed")
    try:
        value: Value = op(left, right)
    except ZeroDivisionError:
        raise Mistake(f"formula {text!r} divides by zero") from None
    except TypeError:
        raise Mistake(f"formula {text!r} mixes a list and a number; lists are joined with + and repeated with *") from None
    _guard(value, text)
    return value


def _guard(value: Value, text: str) -> None:
    if isinstance(value, int) and abs(value) > LIMIT:
        raise Mistake(f"formula {text!r} overflows: its value does not fit in 64 bits")
