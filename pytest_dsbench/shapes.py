"""Shape files -> Cases. A broken row becomes a Broken with `path:line` and one sentence; it never stops the others.

One TOML file describes shapes of one operator. A list is a sweep and several lists multiply; a string that begins with `=`
is a formula over the other dimensions and over helper names, which begin with `_` and reach no operator.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from . import sweep
from .dims import describe
from .mistake import Mistake, unknown
from .operator import Operator
from .operators import find
from .positions import key_line, row_lines
from .record import Record
from .units import Fp8Dtype

#: A sweep beyond this is a typing error, not a plan.
MOST_CASES = 100_000


class Provenance(Record):
    """Where a shape comes from. Every field is optional; none of them is part of a case's identity."""

    #: id in the published list the file's `source` names
    id: int | None = None
    #: id of the published row whose true size this is
    recovers: int | None = None
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


def load(paths: Iterable[Path], root: Path | None = None, fp8: Fp8Dtype = "fp8_e4m3") -> Shapes:
    """Reads shape files, or all `*.toml` below a folder. Paths in messages are relative to `root` where they lie below it.

    `fp8`: the encoding of the device, for rows of operators that have a dimension `fp8` and give none.
    """
    cases: list[Case] = []
    broken: list[Broken] = []
    seen: dict[Operator, Case] = {}
    for path in paths:
        if not path.exists():
            broken.append(Broken(operator=None, path=_shown(path, root), line=1, sentence="no such shape file or folder"))
        for file in sorted(path.rglob("*.toml")) if path.is_dir() else [path] if path.exists() else []:
            for found in _read(file, _shown(file, root), fp8):
                one = _once(found, seen) if isinstance(found, Case) else found
                if isinstance(one, Case):
                    cases.append(one)
                else:
                    broken.append(one)
    return Shapes(cases=tuple(cases), broken=tuple(broken))


def _shown(path: Path, root: Path | None) -> str:
    return str(path.relative_to(root)) if root is not None and path.is_relative_to(root) else str(path)


def _once(case: Case, seen: dict[Operator, Case]) -> Case | Broken:
    first = seen.setdefault(case.op, case)
    if first is case:
        return case
    sentence = f"duplicate case: {case.op.name} at {case.label} is already declared at {first.where}"
    return Broken(operator=case.op.name, path=case.path, line=case.line, sentence=sentence)


def _read(file: Path, shown: str, fp8: Fp8Dtype) -> Iterator[Case | Broken]:
    """The cases of one file, in order, each mistake as a Broken in its place."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        yield Broken(operator=None, path=shown, line=1, sentence=f"cannot be read: {error.strerror}")
        return
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets as deep, are no TOML error
        guess = re.search(r"""^\s*operator\s*=\s*["']([^"']*)["']""", text, re.MULTILINE)
        at = re.search(r"at line (\d+)", str(error))
        line = int(at[1]) if at else max(len(text.splitlines()), 1)
        yield Broken(operator=guess[1] if guess else None, path=shown, line=line, sentence=f"not TOML: {error}")
        return
    try:
        given = _checked_file(data)
    except _AtKey as error:
        name = data.get("operator")
        line = key_line(text, error.key)
        yield Broken(operator=name if isinstance(name, str) else None, path=shown, line=line, sentence=str(error))
        return
    if "fp8" in find(given.operator).__struct_fields__:
        given = given.replace(defaults={"fp8": fp8, **given.defaults})
    yield from _rows(given, row_lines(text), shown)


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
        raise _AtKey(*_sentence(error)) from None
    checks: dict[str, Callable[[], object]] = {
        "operator": lambda: find(given.operator),
        "tags": lambda: _check_tags(given.tags),
        "defaults": lambda: _split(find(given.operator), given.defaults),
    }
    for key, check in checks.items():
        try:
            check()
        except Mistake as error:
            raise _AtKey(key, str(error)) from None
    return given


_ROW_KEYS = {field.encode_name for field in msgspec.structs.fields(_Row)}


#: Marks that would do more than tag a case.
_PYTESTS_OWN = ("skip", "skipif", "xfail", "parametrize", "usefixtures", "filterwarnings", "benchmark")


def _check_tags(tags: tuple[str, ...]) -> None:
    for tag in tags:
        if not re.fullmatch(r"[A-Za-z]\w*", tag):
            raise Mistake(f"tag {tag!r} cannot be a pytest mark; expected a letter, then letters, digits and _")
        if tag in _PYTESTS_OWN:
            raise Mistake(f"tag {tag!r} is a mark that means something to pytest; choose another word")


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
        raise Mistake(_sentence(error)[1]) from None
    _check_tags(row.tags)
    return row, dims


def _sentence(error: msgspec.ValidationError) -> tuple[str, str]:
    """The key that msgspec complains about, and its message in the words of TOML."""
    message, _, place = str(error).partition(" - at `$.")
    key = re.split(r"[^A-Za-z0-9_]", place, maxsplit=1)[0]
    message = message.replace("`", "").replace("object", "table").replace("array", "list").replace(" | null", "")
    return key, f"key {key!r}: {message[0].lower()}{message[1:]}"
