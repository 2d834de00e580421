"""Record: what every value of this project is made of. Frozen, keyword-only, unknown keys refused."""

from typing import Any, Self, TypeVar, dataclass_transform

import msgspec

from .mistake import Mistake

T = TypeVar("T")


class _RecordMeta(msgspec.StructMeta):
    # msgspec inherits `frozen` and `forbid_unknown_fields`, but not `kw_only`: this makes the rule hold for every subclass.
    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> type:
        options.setdefault("kw_only", True)
        return super().__new__(mcls, name, bases, namespace, **options)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, metaclass=_RecordMeta, frozen=True, forbid_unknown_fields=True):
    """A frozen value with named fields. Two records with equal fields are equal."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)


def to_line(value: object) -> bytes:
    """One JSON line, with its newline."""
    return msgspec.json.encode(value) + b"\n"


def from_line(line: bytes | str, kind: type[T] | Any, where: str) -> T:
    """Reads one JSON line as `kind`; raises Mistake with `where` (such as `path:line`) in front."""
    try:
        value: T = msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"{where}: {error}") from None
    return value
