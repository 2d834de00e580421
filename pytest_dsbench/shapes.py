"""Shape files -> Cases. A broken row becomes a Broken with `path:line` and one sentence; it never stops the others.

One TOML file describes shapes of one operator. A list is a sweep and several lists multiply; a string that begins with `=`
is a formula over the other dimensions and over helper names, which begin with `_` and reach no operator.
"""

import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, get_origin

import msgspec

from . import formula
from .mistake import Mistake, unknown
from .operator import Operator
from .operators import find
from .record import Record

#: A sweep beyond this is a typing error, not a plan.
MOST_CASES = 100_000


class Provenance(Record):
    """Where a shape comes from. Every field is optional; none of them is part of a case's identity."""

    #: id in the published list the file's `source` names
    id: int | None = None
    #: framework that runs this shape in production
    framework: str | None = msgspec.field(default=None, name="from")
    #: tensor-parallel size it was seen at, or the published word for it
    tp: int | str | None = None
    #: calls in the production trace, and their mean in us
    calls: int | None = None
    trace_us: float | None = None
    #: published time in us, with the library that was measured; the device is the file's `production_on`
    production_us: float | None = None
    library: str | None = None
    #: why a tag is there
    note: str | None = None


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


class Case(Record):
    """One shape of one operator, and where it was declared."""

    op: Operator
    label: str
    tags: tuple[str, ...] = ()
    #: importance of the operator in production, as published
    importance: float | None = None
    provenance: Provenance = Provenance()
    source: str | None = None
    production_on: str | None = None
    path: str
    line: int

    @property
    def where(self) -> str:
        """`path:line` of the row."""
        return f"{self.path}:{self.line}"


class Broken(Record):
    """A row or file that could not be read: one sentence, and the operator it was meant for where that can be told."""

    operator: str | None
    path: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.sentence}"


class Shapes(Record):
    """All cases of some shape files, in file order, and what was broken."""

    cases: tuple[Case, ...]
    broken: tuple[Broken, ...]

    def of(self, operator: str) -> tuple[Case, ...]:
        """The cases of one operator."""
        return tuple(case for case in self.cases if case.op.name == operator)


def bundled() -> Path:
    """The shape files that come with the package: beside it in a checkout, inside it when installed."""
    installed = Path(__file__).parent / "data" / "shapes"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "shapes"


def load(paths: Iterable[Path], root: Path | None = None) -> Shapes:
    """Reads shape files, or all `*.toml` below a folder. Paths in messages are relative to `root` where they lie below it."""
    cases: list[Case] = []
    broken: list[Broken] = []
    seen: dict[Operator, Case] = {}
    for path in paths:
        if not path.exists():
            broken.append(Broken(operator=None, path=str(path), line=1, sentence="no such shape file or folder"))
        for file in sorted(path.rglob("*.toml")) if path.is_dir() else [path] if path.exists() else []:
            for found in _read(file, _shown(file, root)):
                if isinstance(found, Case):
                    found = _once(found, seen)
                (cases if isinstance(found, Case) else broken).append(found)  # type: ignore[arg-type]
    return Shapes(cases=tuple(cases), broken=tuple(broken))


def _shown(path: Path, root: Path | None) -> str:
    return str(path.relative_to(root)) if root is not None and path.is_relative_to(root) else str(path)


def _once(case: Case, seen: dict[Operator, Case]) -> Case | Broken:
    first = seen.setdefault(case.op, case)
    if first is case:
        return case
    sentence = f"duplicate case: {case.op.name} at {case.label} is already declared at {first.where}"
    return Broken(operator=case.op.name, path=case.path, line=case.line, sentence=sentence)


def _read(file: Path, shown: str) -> Iterator[Case | Broken]:
    """The cases of one file, in order, each mistake as a Broken in its place."""
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        guess = re.search(r"""^\s*operator\s*=\s*["']([^"']*)["']""", text, re.MULTILINE)
        at = re.search(r"at line (\d+)", str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        yield Broken(operator=guess[1] if guess else None, path=shown, line=line, sentence=f"not TOML: {error}")
        return
    try:
        given = _checked_file(data)
    except _AtKey as error:
        name = data.get("operator")
        line = _key_line(text, error.key)
        yield Broken(operator=name if isinstance(name, str) else None, path=shown, line=line, sentence=str(error))
        return
    yield from _rows(given, _case_lines(text), shown)


class _AtKey(Mistake):
    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


def _checked_file(data: dict[str, Any]) -> _File:
    fields = msgspec.structs.fields(_File)
    for key in data:
        if key not in [field.name for field in fields]:
            raise _AtKey(key, unknown("key of a shape file", key, [field.name for field in fields]))
    if "operator" not in data:
        raise _AtKey("", 'no `operator`; expected operator = "name", such as operator = "rms_norm"')
    try:
        given = msgspec.convert(data, _File)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        key = re.split(r"[^a-z_]", place, maxsplit=1)[0]
        raise _AtKey(key, f"key {key!r}: {message.replace('`', '')}") from None
    try:
        cls = find(given.operator)
        _check_tags(given.tags)
    except Mistake as error:
        raise _AtKey("tags" if given.operator in str(given.tags) else "operator", str(error)) from None
    try:
        _split(cls, given.defaults)
    except Mistake as error:
        raise _AtKey("defaults", str(error)) from None
    return given


_ROW_KEYS = {field.encode_name for field in msgspec.structs.fields(_Row)}


def _check_tags(tags: tuple[str, ...]) -> None:
    for tag in tags:
        if not re.fullmatch(r"[A-Za-z_]\w*", tag):
            raise Mistake(f"tag {tag!r} cannot be a pytest mark; expected letters, digits and _")


def _rows(given: _File, lines: list[int], shown: str) -> Iterator[Case | Broken]:
    cls = find(given.operator)
    total = 0
    for number, raw in enumerate(given.case):
        line = lines[number] if number < len(lines) else 1
        try:
            row, dims = _split(cls, given.defaults | raw)
            count = _count(cls, dims)
            if total + count > MOST_CASES:
                raise Mistake(f"the sweep explodes: {total + count:,} cases in this file; at most {MOST_CASES:,} are allowed")
            total += count
            ops = [cls.build(_evaluated(cls, one, row)) for one in _combinations(cls, dims)]
            if row.id is not None and len(ops) > 1:
                raise Mistake(f"id {row.id} stands on a sweep of {len(ops)} cases; an id names one case")
        except Mistake as error:
            yield Broken(operator=cls.name, path=shown, line=line, sentence=str(error))
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
    try:
        row = msgspec.convert(info, _Row)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        raise Mistake(f"key {place.rstrip('`')!r}: {message.replace('`', '')}") from None
    _check_tags(row.tags)
    return row, dims


def _is_sweep(cls: type[Operator], key: str, value: object) -> bool:
    """A list is a sweep, unless the dimension is itself a list: then only a list of lists (or formulas) is one."""
    if not isinstance(value, list):
        return False
    if key in _list_fields(cls):
        return bool(value) and all(isinstance(item, list) or formula.is_formula(item) for item in value)
    return True


def _list_fields(cls: type[Operator]) -> set[str]:
    return {f.name for f in msgspec.structs.fields(cls) if get_origin(getattr(f.type, "__origin__", f.type)) is tuple}


def _count(cls: type[Operator], dims: Mapping[str, Any]) -> int:
    for key, value in dims.items():
        if value == []:
            raise Mistake(f"{key!r} is an empty list; a sweep needs at least one value")
    return math.prod(len(value) for key, value in dims.items() if _is_sweep(cls, key, value))


def _combinations(cls: type[Operator], dims: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the swept values, the last list turning fastest."""
    axes = [value if _is_sweep(cls, key, value) else [value] for key, value in dims.items()]
    for values in product(*axes):
        yield dict(zip(dims, values, strict=True))


def _evaluated(cls: type[Operator], dims: dict[str, Any], row: _Row) -> dict[str, Any]:
    """The dimensions with every formula replaced by its value; helper names are dropped."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(cls) if field.default is not msgspec.NODEFAULT}
    scope: dict[str, Any] = {**defaults, **({"tp": row.tp} if isinstance(row.tp, int) else {}), **dims}
    waiting = {key: value for key, value in dims.items() if formula.is_formula(value)}
    while waiting:
        ready = [key for key, text in waiting.items() if not formula.names(text) & waiting.keys()]
        if not ready:
            raise Mistake(f"the formulas of {', '.join(waiting)} refer to each other in a circle")
        for key in ready:
            scope[key] = formula.evaluate(waiting.pop(key), scope)
    return {key: scope[key] for key in dims if not key.startswith("_")}


def describe(op: Operator) -> str:
    """A case's label: every dimension without a default and every other one that differs from it; usable with -k."""
    parts = []
    for field in msgspec.structs.fields(op):
        value = getattr(op, field.name)
        if field.default is not msgspec.NODEFAULT and value == field.default:
            continue
        if isinstance(value, str):
            parts.append(value)
        else:
            parts.append(field.name + (_run_lengths(value) if isinstance(value, tuple) else f"{value}"))
    return "-".join(parts)


def read_dims(cls: type[Operator], given: Iterable[str]) -> dict[str, Any]:
    """Dimensions as the command line gives them: "tokens=4096", "seq_lens=720,1200". Raises Mistake."""
    dims: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise Mistake(f"{text!r} is not a dimension; expected dim=value, such as {cls.__struct_fields__[0]}=4096")
        numbers = [_number(part) for part in value.split(",")]
        dims[key] = numbers if key in _list_fields(cls) else _number(value)
    return dims


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


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


def _key_line(text: str, key: str) -> int:
    """The line of a top-level key; 1 where the file does not have it."""
    for number, line in enumerate(text.splitlines(), 1):
        if key and re.match(rf"\s*(\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*(=|\]|\.)", line):
            return number
    return 1


_TOKEN = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}]|\n', re.DOTALL)


def _case_lines(text: str) -> list[int]:
    """The line of the n-th row: tomllib gives no positions, so the rows are found again by their brackets."""
    blocks = [text.count("\n", 0, m.start(1)) + 1 for m in re.finditer(r"^[ \t]*(\[\[\s*case\s*\]\])", text, re.MULTILINE)]
    start = re.search(r"^[ \t]*case\s*=\s*", text, re.MULTILINE)
    if blocks or start is None:
        return blocks
    lines, depth, line = [], 0, text.count("\n", 0, start.end()) + 1
    for token in _TOKEN.finditer(text, start.end()):
        match token[0]:
            case "[" | "{":
                depth += 1
                if depth == 2 and token[0] == "{":
                    lines.append(line)
            case "]" | "}":
                depth -= 1
                if depth == 0:
                    break
            case _:
                line += token[0].count("\n")
    return lines
