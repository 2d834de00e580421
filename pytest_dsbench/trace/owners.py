"""What a piece of device time is attributed to: an operation, and a part of the model."""

from typing import Literal, NamedTuple

from ..operator import Operator
from .events import Events
from .link import Piece
from .mapping import Mapping, Verdict
from .nest import Forest

#: The group of what no annotation and no module encloses, beside groups and where there are none.
UNGROUPED, ALL = "outside of every range", "all"

#: Why an operation is unmapped that the table does not name.
UNLISTED = "in no entry of the table"

Kind = Literal["mapped", "recognised", "unmapped"]


class Key(NamedTuple):
    """What device time is summed by."""

    kind: Kind
    #: our operator; empty where it is not known
    operator: str
    #: our operator at its dimensions; None where they are not known
    op: Operator | None
    #: the recorded operation, or the kernel where there is none; empty of a mapped one, which may have had several
    name: str
    #: why it is not mapped
    reason: str


class Owners:
    """Which operation a piece of device time is attributed to: the outermost that is mapped, so that no piece counts twice.

    Where none is mapped, the outermost that the table knows; where there is none either, the one that launched it.
    """

    def __init__(self, events: Events, forest: Forest, mapping: Mapping) -> None:
        self.device = bool(len(events.kernels))
        self._events, self._forest = events, forest
        self._verdicts = [mapping.verdict(signature) for signature in events.signatures]
        self._keys = [self._key(number) for number in range(len(self._verdicts))]
        self._mapped: dict[int, int] = {}
        self._known: dict[int, int] = {}
        for index in forest.order:
            parent, verdict = forest.op[index], self._verdict(index)
            mapped, known = self._mapped.get(parent, -1), self._known.get(parent, -1)
            if mapped < 0 and verdict is not None and verdict.op is not None:
                mapped = index
            if known < 0 and verdict is not None:
                known = index
            if mapped >= 0:
                self._mapped[index] = mapped
            if known >= 0:
                self._known[index] = known

    def _verdict(self, index: int) -> Verdict | None:
        return self._verdicts[self._events.spans.what[index]]

    def name(self, index: int) -> str:
        """The name of an operation."""
        return self._events.signatures[self._events.spans.what[index]].name

    def of(self, piece: Piece) -> tuple[int, Key]:
        """The operation, -1 where there is none, and the key."""
        if piece.op < 0:
            return -1, Key("unmapped", "", None, piece.name, piece.why)
        owner = self._mapped.get(piece.op, self._known.get(piece.op, -1))
        owner = owner if owner >= 0 else piece.op
        return owner, self._keys[self._events.spans.what[owner]]

    def _key(self, number: int) -> Key:
        """The key of a signature."""
        name, verdict = self._events.signatures[number].name, self._verdicts[number]
        if verdict is None:
            return Key("unmapped", "", None, name, UNLISTED)
        if verdict.op is None:
            return Key("recognised", verdict.operator, None, name, verdict.reason)
        return Key("mapped", verdict.operator, verdict.op, "", "")


class Groups:
    """The group of a span: its innermost annotation, otherwise the innermost module that holds modules, by its class."""

    def __init__(self, events: Events, forest: Forest) -> None:
        self._events, self._forest = events, forest
        self._any = any(at >= 0 for column in (forest.scope, forest.module) for at in column)

    def of(self, span: int) -> str:
        """The name of the group of a span; -1 is of none."""
        what, names = self._events.spans.what, self._events.names.words
        if span >= 0 and self._forest.scope[span] >= 0:
            return str(names[what[self._forest.scope[span]]])
        innermost = module = self._forest.module[span] if span >= 0 else -1
        while module >= 0 and what[module] not in self._forest.holders:
            module = self._forest.module[module]
        module = module if module >= 0 else innermost
        if module < 0:
            return UNGROUPED if self._any else ALL
        name = str(names[what[module]])
        return name.rpartition("_")[0] or name
