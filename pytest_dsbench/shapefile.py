"""One shape file -> Cases. A broken row becomes a Broken with `path:line` and one sentence; it never stops the others.

It describes shapes of one operator. A list is a sweep and several lists multiply; a string that begins with `=` is a formula
over the other dimensions and over helper names, which begin with `_` and reach no operator.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from . import sweep
from .case import MOST_CASES, Broken, Case, Provenance, check_tags, readable_tags
from .dims import describe
from .mistake import Mistake, unknown
from .operator import Operator
from .operators import find
from .positions import key_line, row_lines
from .record import Record
from .tables import AtKey, converted
from .units import Fp8Dtype


class _Row(Provenance):
    """The keys of a row that are not dimensions."""

    label: str | None = None
    tags: tuple[str, ...] = ()
    importance: float | None = None


class _File(Record):
    """The keys of a shape file, dimensions and rows still raw."""

    operator: str
    case: list[dict[str, Any]] = []
    defaults: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    importance: float | None = None
    source: str | None = None
    production_on: str | None = None


def read(text: str, data: dict[str, Any], shown: str, fp8: Fp8Dtype) -> Iterator[Case | Broken]:
    """The cases of one file, in order, each mistake as a Broken in its place."""
    try:
        given = _checked_file(data)
    except AtKey as error:
        name = data.get("operator")
        line = key_line(text, error.key)
        known = name if isinstance(name, str) else None
        yield Broken(operator=known, path=shown, line=line, sentence=str(error), tags=_tags(data))
        return
    if "fp8" in find(given.operator).__struct_fields__:
        given = given.replace(defaults={"fp8": fp8, **given.defaults})
    yield from _rows(given, row_lines(text), shown)


def _checked_file(data: dict[str, Any]) -> _File:
    what = "key of a shape file"
    if "operator" not in data:
        converted({"operator": "", **data}, _File, what)
        raise AtKey("", 'no `operator`; expected operator = "name", such as operator = "rms_norm"')
    given = converted(data, _File, what)
    checks: dict[str, Callable[[], object]] = {
        "operator": lambda: find(given.operator),
        "tags": lambda: check_tags(given.tags),
        "defaults": lambda: _split(find(given.operator), given.defaults),
    }
    for key, check in checks.items():
        try:
            check()
        except Mistake as error:
            raise AtKey(key, str(error)) from None
    return given


_ROW_KEYS = {field.encode_name for field in msgspec.structs.fields(_Row)}


def _tags(table: dict[str, Any]) -> tuple[str, ...]:
    """The tags of a file or row that is broken."""
    given = table.get("tags")
    return readable_tags(*given) if isinstance(given, list) else ()


def _rows(given: _File, lines: list[int], shown: str) -> Iterator[Case | Broken]:
    cls = find(given.operator)
    total = 0
    for number, raw in enumerate(given.case):
        line = lines[number] if number < len(lines) else 1
        try:
            row, dims = _split(cls, given.defaults | raw)
            count = sweep.count(cls, dims)
            if total + count > MOST_CASES:
                raise Mistake(f"the sweep explodes: {total + count:,} cases in this file; at most {MOST_CASES:,} are allowed")
            total += count
            ops = [cls.build(one) for one in sweep.combinations(cls, dims, row.tp)]
            for key in ("id", "recovers"):
                if getattr(row, key) is not None and len(ops) > 1:
                    raise Mistake(f"{key} {getattr(row, key)} stands on a sweep of {len(ops)} cases; it names one case")
        except Mistake as error:
            tags = (*given.tags, *_tags(raw))
            yield Broken(operator=cls.name, path=shown, line=line, sentence=str(error), tags=tags)
            continue
        for op in ops:
            yield Case(
                op=op,
                label=row.label if row.label is not None and len(ops) == 1 else describe(op),
                tags=tuple(dict.fromkeys(given.tags + row.tags)),
                importance=row.importance if row.importance is not None else given.importance,
                provenance=Provenance(**{name: getattr(row, name) for name in Provenance.__struct_fields__}),
                source=given.source,
                production_on=given.production_on,
                path=shown,
                line=line,
            )


def _split(cls: type[Operator], raw: dict[str, Any]) -> tuple[_Row, dict[str, Any]]:
    """A row as its provenance and its dimensions."""
    info = {key: value for key, value in raw.items() if key in _ROW_KEYS}
    dims = {key: value for key, value in raw.items() if key not in _ROW_KEYS}
    for key in dims:
        if key not in cls.__struct_fields__ and not key.startswith("_"):
            raise Mistake(unknown(f"dimension of {cls.name}", key, [*cls.__struct_fields__, *_ROW_KEYS]))
    row = converted(info, _Row, "key of a row")
    check_tags(row.tags)
    return row, dims
