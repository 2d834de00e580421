"""One model file -> Cases: every op of every phase at every point. A mistake becomes a Broken with `path:line`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from .case import MOST_CASES, Broken, Case, check_tags, readable_tags
from .dims import describe
from .mistake import Mistake, unknown
from .model import Model, Op, Phase
from .positions import key_line, row_lines
from .record import Record
from .tables import AtKey, AtLine, converted, parsed
from .units import Fp8Dtype

R = TypeVar("R", bound=Record)


def read(text: str, data: dict[str, Any], shown: str, fp8: Fp8Dtype) -> Iterator[Case | Broken]:
    """The cases of one model file, in the order of its ops, each mistake as a Broken in its place."""
    try:
        model = checked(text, data)
    except AtLine as error:
        phases = data.get("phase")
        names = [one.get("name") for one in phases if isinstance(one, dict)] if isinstance(phases, list) else []
        tags = readable_tags(data.get("model"), *names)
        yield Broken(operator=None, path=shown, line=error.line, sentence=str(error), tags=tags)
        return
    lines = row_lines(text, "op")
    for number, op in enumerate(model.op):
        line = lines[number] if number < len(lines) else 1
        try:
            for phase in model.phases_of(op):
                yield from _cases(model, phase, op, shown, line, fp8)
        except Mistake as error:
            tags = (model.model, *(phase.name for phase in model.phases_of(op)), op.tag)
            yield Broken(operator=op.operator, path=shown, line=line, sentence=str(error), tags=tags)


def _cases(model: Model, phase: Phase, op: Op, shown: str, line: int, fp8: Fp8Dtype) -> Iterator[Case]:
    tags = (model.model, phase.name, op.tag)
    for built in dict.fromkeys([model.build(op, point, fp8) for point in model.points(phase)]):
        yield Case(op=built, label=describe(built), tags=tags, source=model.source, model=model.model, path=shown, line=line)


def load(path: Path) -> Model:
    """The model at `path`. Raises Mistake, "path:line: what", where it is wrong."""
    try:
        # What is not UTF-8 is not TOML either, and is found at its line.
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Mistake(f"cannot read the model {path}: {error.strerror}") from None
    try:
        model = checked(text, parsed(text))
        for number, op in enumerate(model.op):
            with at_row(text, "op", number):
                _build(model, op)
    except AtLine as error:
        raise Mistake(f"{path}:{error.line}: {error}") from None
    return model


def _build(model: Model, op: Op) -> None:
    """Builds an op at all its points. Raises Mistake."""
    for phase in model.phases_of(op):
        for point in model.points(phase):
            model.build(op, point)


def named(name_or_path: str, folders: Iterable[Path]) -> Model:
    """The model of that name in the first of some folders that has it, or the one at a path ending in `.toml`. Raises Mistake."""
    if name_or_path.endswith(".toml"):
        return load(Path(name_or_path))
    paths = names(folders)
    if name_or_path not in paths:
        raise Mistake(f"{unknown('model', name_or_path, paths)}, or the path of a .toml file")
    return load(paths[name_or_path])


def names(folders: Iterable[Path]) -> dict[str, Path]:
    """The models in some folders by the stem of their file; the first folder that has one counts."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def checked(text: str, data: dict[str, Any]) -> Model:
    """The model of a file's data, its phases and ops held against each other. Raises AtLine."""
    rows = {key: data.get(key) for key in ("phase", "op")}
    for key, given in rows.items():
        if not isinstance(given, list) or not given or not all(isinstance(block, dict) for block in given):
            raise AtLine(key_line(text, key), f"no [[{key}]]; a model needs at least one")
    try:
        model = converted({**data, "phase": (), "op": ()}, Model, "key of a model file")
        with at_key("model"):
            check_tags((model.model,))
        with at_key("layers"):
            model.kinds()
    except AtKey as error:
        raise AtLine(key_line(text, error.key), str(error)) from None
    model = model.replace(phase=blocks(text, data, "phase", Phase), op=blocks(text, data, "op", Op))
    for number, phase in enumerate(model.phase):
        with at_row(text, "phase", number):
            _check_phase(model, phase)
    for number, op in enumerate(model.op):
        with at_row(text, "op", number):
            _check_op(model, op)
    return model


def blocks(text: str, data: dict[str, Any], key: str, cls: type[R]) -> tuple[R, ...]:
    """The blocks of `[[key]]` as records of `cls`. Raises AtLine."""
    found = []
    for number, block in enumerate(data[key]):
        with at_row(text, key, number):
            found.append(converted(block, cls, f"key of [[{key}]]"))
    return tuple(found)


@contextmanager
def at_key(key: str) -> Iterator[None]:
    """A Mistake in here is one at a top-level key."""
    try:
        yield
    except Mistake as error:
        raise AtKey(key, str(error)) from None


@contextmanager
def at_row(text: str, key: str, number: int) -> Iterator[None]:
    """A Mistake in here is one at the n-th block of `key`."""
    try:
        yield
    except Mistake as error:
        lines = row_lines(text, key)
        raise AtLine(lines[number] if number < len(lines) else 1, str(error)) from None


def _check_phase(model: Model, phase: Phase) -> None:
    check_tags((phase.name,))
    if [one.name for one in model.phase].count(phase.name) > 1:
        raise Mistake(f"phase {phase.name!r} is declared twice")
    count = len(phase.batch) * len(phase.sequence) * len(phase.context)
    if not 0 < count * len(model.op) <= MOST_CASES:
        raise Mistake(f"phase {phase.name!r} has {count} points; expected at least 1, and no more than {MOST_CASES:,} cases")
    points = list(model.points(phase))
    for point in points:
        if min(point.batch, point.sequence, point.context) < 1:
            raise Mistake(f"phase {phase.name!r} has a point {point}; expected integers of at least 1")
    for point in phase.shown:
        if point not in points:
            raise Mistake(f"phase {phase.name!r} shows {point}, which is none of its points")


def _check_op(model: Model, op: Op) -> None:
    check_tags((op.tag,))
    for phase in op.phases:
        if phase not in [one.name for one in model.phase]:
            raise Mistake(f"op {op.name!r}: {unknown('phase', phase, [one.name for one in model.phase])}")
    for kind in op.layers:
        if kind not in model.layers:
            raise Mistake(f"op {op.name!r}: {unknown('kind of layer', kind, model.layers)}")
    groups = {name for one in model.op if one.instead_of is None for name in (one.name, one.name.partition(".")[0])}
    if op.instead_of is not None and op.instead_of not in groups:
        raise Mistake(f"op {op.name!r}: {unknown('op or group', op.instead_of, groups)}")
