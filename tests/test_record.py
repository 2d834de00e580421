"""Records: frozen, keyword-only, strict about their keys; one JSON line each."""

import msgspec
import pytest

from pytest_dsbench.mistake import Mistake
from pytest_dsbench.record import Record, from_line, to_line


class Point(Record):
    x: int
    y: float = 0.0
    tags: tuple[str, ...] = ()


class Named(Point):
    name: str


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        Point(x=1).x = 2  # type: ignore[misc]
    assert hash(Point(x=1)) == hash(Point(x=1)) and Point(x=1) == Point(x=1) != Point(x=2)


def test_keyword_only_also_in_subclasses() -> None:
    with pytest.raises(TypeError, match="positional"):
        Point(1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        Named("a", x=1)  # type: ignore[misc]
    # A field without a default may follow one with a default.
    assert Named(name="a", x=1).y == 0.0
    with pytest.raises(TypeError, match="'name'"):
        Named(x=1)  # type: ignore[call-arg]


def test_unknown_keys_are_refused() -> None:
    for kind in (Point, Named):
        with pytest.raises(msgspec.ValidationError, match="unknown field `z`"):
            msgspec.convert({"x": 1, "name": "a", "z": 2} if kind is Named else {"x": 1, "z": 2}, kind)
    with pytest.raises(Mistake, match="here: Object contains unknown field `z`"):
        from_line(b'{"x": 1, "z": 2}', Point, "here")


def test_replace() -> None:
    made = Named(name="a", x=1, tags=("t",))
    assert made.replace(x=2) == Named(name="a", x=2, tags=("t",))
    assert made.x == 1
    with pytest.raises(TypeError):
        made.replace(z=1)


def test_lines() -> None:
    made = Named(name="a\nb \u00b5", x=2**63, y=1 / 3, tags=("t", "u"))
    line = to_line(made)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert from_line(line, Named, "here") == made
    assert from_line(line.decode(), Named, "here") == made


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"x": 1',
        b'{"x": "1"}',
        b"[]",
        b"null",
        b"{}",
        b'{"x": 1.5}',
        b'{"x": 1}}',
        b'{"x": 1, "tags": ["\xff"]}',
        b"\x00",
    ],
)
def test_a_bad_line_is_one_sentence_with_its_place(line: bytes) -> None:
    with pytest.raises(Mistake) as raised:
        from_line(line, Point, "runs/a.jsonl:7")
    assert str(raised.value).startswith("runs/a.jsonl:7: ")
    assert "\n" not in str(raised.value)
