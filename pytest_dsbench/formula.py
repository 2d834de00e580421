"""Formulas of shape files: `= hidden // _tp`, `= [256] * 130 + [17]`. Integers and lists of integers, nothing else.

Python's own parser reads them; only the nodes named here are evaluated, so a formula can neither call, import nor loop.
"""

import ast
import operator
from collections.abc import Callable, Mapping
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


def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text.lstrip()[1:].strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Mistake(f"formula {text!r} cannot be read; expected integers and names with + - * // % and brackets") from None


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
