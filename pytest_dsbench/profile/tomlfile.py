"""A layer profile as TOML: the format of this project, with a unit on every time."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ..mistake import Mistake
from ..modelfile import at_key, at_row, blocks
from ..positions import key_line, row_lines
from ..record import Record
from ..tables import AtKey, AtLine, converted, parsed
from .record import Covers, Device, Profile, Row, Stated
from .times import time, written

#: What a profile covers where its file does not say.
_USUAL = ("covers", "layer")


class _Row(Record):
    """The keys of a [[row]]: those of Row, with times as the file has them."""

    group: str
    module: str = ""
    kernel: str = ""
    time: dict[str, Any] = {}
    calls: int | None = None
    hidden_by: str | None = None
    operator: str | None = None
    dims: dict[str, Any] = {}
    times: int | str = 1
    note: str = ""


class _Stated(Record):
    """The keys of a [[stated]]."""

    what: Covers
    name: str = ""
    device: str
    time: Any
    count: int | None = None


class _File(Record):
    """The top-level keys of a profile, its blocks still raw."""

    profile: str
    title: str = ""
    source: str = ""
    covers: Literal["layer", "step"] = "layer"
    layers: int | None = None
    alike: int | None = None
    notes: tuple[str, ...] = ()
    constants: dict[str, Any] = {}
    variables: dict[str, str] = {}
    device: list[dict[str, Any]] = []
    row: list[dict[str, Any]] = []
    stated: list[dict[str, Any]] = []


def read(text: str, shown: str) -> Profile:
    """The profile of a TOML text, not yet held against itself. Raises AtLine."""
    data = parsed(text)
    for key in ("device", "row"):
        given = data.get(key)
        if not isinstance(given, list) or not given or not all(isinstance(block, dict) for block in given):
            raise AtLine(key_line(text, key), f"no [[{key}]]; a layer profile needs at least one")
    try:
        file = converted(data, _File, "key of a layer profile")
        if not file.profile:
            with at_key("profile"):
                raise Mistake("profile is empty; expected a short name")
    except AtKey as error:
        raise AtLine(key_line(text, error.key), str(error)) from None
    return Profile(
        **{name: getattr(file, name) for name in ("profile", "title", "source", "covers", "layers", "alike", "notes")},
        constants=file.constants,
        variables=file.variables,
        devices=blocks(text, data, "device", Device),
        rows=tuple(_rows(text, blocks(text, data, "row", _Row))),
        stated=tuple(_stated(text, blocks(text, {"stated": file.stated}, "stated", _Stated))),
        path=shown,
    )


def _rows(text: str, found: tuple[_Row, ...]) -> Iterator[Row]:
    lines = row_lines(text, "row")
    for number, one in enumerate(found):
        with at_row(text, "row", number):
            times = {device: time(value) for device, value in one.time.items()}
        kept = {name: getattr(one, name) for name in _Row.__struct_fields__ if name != "time"}
        yield Row(
            **kept,
            seconds={device: seconds for device, (seconds, _) in times.items()},
            rounding={device: rounding for device, (_, rounding) in times.items()},
            line=lines[number] if number < len(lines) else 1,
        )


def _stated(text: str, found: tuple[_Stated, ...]) -> Iterator[Stated]:
    lines = row_lines(text, "stated")
    for number, one in enumerate(found):
        with at_row(text, "stated", number):
            seconds, rounding = time(one.time)
        yield Stated(
            what=one.what,
            name=one.name,
            device=one.device,
            seconds=seconds,
            rounding=rounding,
            count=one.count,
            line=lines[number] if number < len(lines) else 1,
        )


def write(profile: Profile) -> str:
    """The profile as TOML, which `read` reads back; times in microseconds."""
    head = {name: getattr(profile, name) for name in ("profile", "title", "source", "covers", "layers", "alike", "notes")}
    lines = [f"{key} = {_value(value)}" for key, value in head.items() if value not in ("", None, ()) and (key, value) != _USUAL]
    lines += _table("constants", profile.constants) + _table("variables", profile.variables)
    for device in profile.devices:
        lines += _block("device", {name: getattr(device, name) for name in ("name", "hw", "title", "note")})
        lines += _table("device.constants", device.constants)
    for one in profile.stated:
        took = " ".join(written(one.seconds, one.rounding))
        lines += _block("stated", {"what": one.what, "name": one.name, "device": one.device, "time": took, "count": one.count})
    for row in profile.rows:
        lines += _block("row", _row(row))
    return "\n".join(lines) + "\n"


def _row(row: Row) -> dict[str, Any]:
    times = {device: " ".join(written(seconds, row.rounding.get(device, 0.0))) for device, seconds in row.seconds.items()}
    kept = {name: getattr(row, name) for name in ("calls", "hidden_by", "operator", "dims", "times", "note")}
    if row.times == 1:
        del kept["times"]
    return {"group": row.group, "module": row.module, "kernel": row.kernel, "time": times, **kept}


def _block(key: str, given: Mapping[str, Any]) -> list[str]:
    shown = [f"{name} = {_value(value)}" for name, value in given.items() if value not in ("", None, {}) or name == "group"]
    return ["", f"[[{key}]]", *shown]


def _table(key: str, given: Mapping[str, Any]) -> list[str]:
    return ["", f"[{key}]", *(f"{_key(name)} = {_value(value)}" for name, value in given.items())] if given else []


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else _value(name)


def _value(value: object) -> str:
    """A value as TOML has it."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(str(name))} = {_value(one)}' for name, one in value.items())} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    # A JSON string is a TOML string but for DEL, which TOML wants escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
