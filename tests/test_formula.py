"""Formulas of shape files: they agree with Python where both have a value, and refuse the rest in one sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dsbench.formula import LIMIT, LONGEST, Condition, Value, evaluate, is_formula, names
from pytest_dsbench.mistake import Mistake

SCOPE: dict[str, object] = {
    "hidden": 7168,
    "tp": 8,
    "_heads": 3,
    "lens": (256, 17),
    "zero": 0,
    "big": 2**62,
    "flag": True,
    "dtype": "bf16",
    "eps": 1e-6,
}
NUMBERS = {name: value for name, value in SCOPE.items() if type(value) is int}

leaves = st.one_of(st.integers(0, 10**6).map(str), st.sampled_from(sorted(NUMBERS)))
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda text: f"-{text}"),
    ),
    max_leaves=12,
)


def intermediate(text: str) -> list[int]:
    """Every value that Python meets on the way: those of all bracketed parts."""
    found, open_at = [], []
    for at, character in enumerate(text):
        if character == "(":
            open_at.append(at)
        elif character == ")":
            found.append(eval(text[open_at.pop() : at + 1], {}, dict(NUMBERS)))
    return [*found, eval(text, {}, dict(NUMBERS))]


@settings(max_examples=300)
@given(expressions)
def test_agrees_with_python(text: str) -> None:
    try:
        values = intermediate(text)
    except ZeroDivisionError:
        with pytest.raises(Mistake, match="divides by zero|overflows"):
            evaluate(f"= {text}", NUMBERS)
        return
    if all(abs(value) <= LIMIT for value in values):
        assert evaluate(f"= {text}", NUMBERS) == values[-1]
    else:
        with pytest.raises(Mistake, match="overflows"):
            evaluate(f"= {text}", NUMBERS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("= 5", 5),
        ("  =hidden // tp", 896),
        ("= -(-hidden // 100)", 72),
        ("= hidden % 100 - _heads * 2", 62),
        ("= [1, 2] + [3]", [1, 2, 3]),
        ("= [tp] * 3 + [17]", [8, 8, 8, 17]),
        ("= 2 * lens", [256, 17, 256, 17]),
        ("= [1] * -1", []),
        ("= [[1], tp]", [[1], 8]),
        (f"= {LIMIT}", LIMIT),
        (f"= -{LIMIT}", -LIMIT),
    ],
)
def test_values(text: str, value: Value) -> None:
    assert evaluate(text, SCOPE) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("= hiden", "unknown name 'hiden'; did you mean 'hidden'?"),
        ("= hidden // zero", "divides by zero"),
        ("= hidden % 0", "divides by zero"),
        ("= max(1, 2)", "calls a function; only + - * // % and brackets are allowed"),
        ("= __import__('os')", "calls a function"),
        ("= hidden / 2", "divides with /; dimensions are integers: use // (rounds down) or -(-a // b) (rounds up)"),
        ("= 2 ** 62", "uses '2 ** 62'"),
        ("= 1.5", "uses '1.5'"),
        ("= True", "uses 'True'"),
        ("= 'a'", "uses \"'a'\""),
        ("= hidden if tp else 1", "uses 'hidden if tp else 1'"),
        ("= hidden > 1", "uses 'hidden > 1'"),
        ("= [x for x in lens]", "uses '[x for x in lens]'"),
        ("= lens[0]", "uses 'lens[0]'"),
        ("= tp.real", "uses 'tp.real'"),
        ("= (1, 2)", "uses '(1, 2)'"),
        ("= 1 << 3", "uses '1 << 3'"),
        ("= ~1", "uses '~1'"),
        ("=", "cannot be read"),
        ("= 1 +", "cannot be read"),
        ("= 1; 2", "cannot be read"),
        ("= x = 2", "cannot be read"),
        ("= \0", "cannot be read"),
        (f"= {'9' * 5000}", "cannot be read"),
        (f"= {'(' * 5000}1{')' * 5000}", "cannot be read"),
        (f"= {'1+' * 1500}1", "is too long"),
        ("= big + big", "overflows: its value does not fit in 64 bits"),
        ("= big * big - big * big", "overflows"),
        ("= -big * 3", "overflows"),
        ("= flag", "'flag' is True, not an integer"),
        (f"= {LIMIT + 1}", "overflows"),
        ("= [1] + 2", "mixes a list and a number"),
        ("= lens // 2", "mixes a list and a number"),
        ("= -lens", "mixes a list and a number"),
        ("= lens * lens", "mixes a list and a number"),
        ("= [1] * 1000001", "makes a list of 1,000,001 items; at most 1,000,000 are allowed"),
        ("= big * lens", "at most 1,000,000 are allowed"),
        ("= dtype", "'dtype' is 'bf16', not an integer"),
        ("= eps * 2", "'eps' is 1e-06, not an integer"),
    ],
)
def test_refusals(text: str, sentence: str) -> None:
    with pytest.raises(Mistake) as raised:
        evaluate(text, SCOPE)
    assert sentence in str(raised.value)
    assert str(raised.value).startswith("formula ") and "\n" not in str(raised.value)


def test_the_longest_list() -> None:
    value = evaluate(f"= [1] * {LONGEST}", {})
    assert isinstance(value, list) and len(value) == LONGEST


def test_a_tuple_of_the_scope_is_not_changed() -> None:
    scope = {"lens": [1, 2]}
    assert evaluate("= lens + [3]", scope) == [1, 2, 3]
    assert scope == {"lens": [1, 2]}


def test_names() -> None:
    assert names("= hidden // tp + [tp, _x][0]") == {"hidden", "tp", "_x"}
    assert names("= 3") == set()


@pytest.mark.parametrize(
    ("value", "expected"), [("= 1", True), ("  =x", True), ("1 = 1", False), ("bf16", False), (5, False), (["= 1"], False)]
)
def test_what_is_a_formula(value: object, expected: bool) -> None:
    assert is_formula(value) is expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 <= tp <= 16", True),
        ("1 <= tp < 8", False),
        ("hidden % 128 == 0 and tp == 8", True),
        ("tp == 7 or _heads == 3", True),
        ("hidden // tp in (896, 1)", True),
        ("hidden not in [7168]", False),
        ("dtype == 'bf16'", True),
        ("dtype in ('fp16', 'fp32')", False),
        ("flag == flag", True),
        ("-zero >= 0", True),
    ],
)
def test_conditions(text: str, value: bool) -> None:
    assert Condition(text).holds(SCOPE) is value


def test_the_names_of_a_condition_come_in_its_order() -> None:
    assert Condition("hidden % tp == 0 and _heads < hidden").names == ["hidden", "tp", "_heads"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hidden", "condition 'hidden' compares nothing; expected such as 1 <= tokens <= 16"),
        ("hidden <", "condition 'hidden <' cannot be read; expected a comparison of integers and names, such as"),
        ("hidden < 'x'", "condition \"hidden < 'x'\" cannot compare 7168 with 'x'"),
        ("hiden < 1", "condition 'hiden < 1': unknown name 'hiden'; did you mean 'hidden'?"),
        ("len(hidden) < 1", "condition 'len(hidden) < 1' calls a function"),
        ("tp is 8", "condition 'tp is 8' cannot compare 8 with 8"),
        ("tp == 1 or hidden", "condition 'tp == 1 or hidden' uses 'hidden'; expected comparisons joined by and, or"),
    ],
)
def test_conditions_that_have_no_answer_say_so(text: str, sentence: str) -> None:
    with pytest.raises(Mistake) as raised:
        Condition(text).holds(SCOPE)
    assert str(raised.value).startswith(sentence)
