"""What encloses what: the spans of each thread as a forest."""

from array import array
from itertools import groupby

from .events import LAUNCH, MODULE, OP, SCOPE, Columns


class Forest:
    """For each span the number of what encloses it innermost, -1 where nothing does."""

    def __init__(self, spans: Columns) -> None:
        none = array("l", [-1])
        count = len(spans)
        #: of each span the enclosing operation, annotation and module
        self.op, self.scope, self.module = none * count, none * count, none * count
        #: microseconds of each operation that are not those of operations inside it
        self.own = array("d", spans.length)
        #: names of modules that hold other modules
        self.holders: set[int] = set()
        #: operations, each after what encloses it
        self.order = array("l")
        self._spans = spans
        # A parent begins first; of two that begin together the longer one is the parent, and of equals an annotation
        # that of an operation, and an operation that of what it launched.
        rank = {SCOPE: 0, MODULE: 1, OP: 2, LAUNCH: 3}
        kinds, start, length, place = spans.kind, spans.start, spans.length, spans.place
        order = sorted(range(count), key=lambda i: (place[i], start[i], -length[i], rank[kinds[i]], i))
        for _, found in groupby(order, key=place.__getitem__):
            self._thread(found)  # type: ignore[arg-type]

    def _thread(self, found: "list[int]") -> None:
        """One thread's spans by their start: a stack of each kind that is open."""
        spans = self._spans
        start, length, kinds = spans.start, spans.length, spans.kind
        stacks: dict[int, list[int]] = {OP: [], SCOPE: [], MODULE: []}
        for index in found:
            at = start[index]
            for stack in stacks.values():
                while stack and start[stack[-1]] + length[stack[-1]] <= at:
                    stack.pop()
            kind = kinds[index]
            ops, scopes, modules = stacks[OP], stacks[SCOPE], stacks[MODULE]
            self.op[index] = ops[-1] if ops else -1
            self.scope[index] = scopes[-1] if scopes else -1
            self.module[index] = modules[-1] if modules else -1
            if kind == OP:
                self.order.append(index)
                if ops:
                    # What outlasts its parent is taken off for as long as both are open.
                    parent_end = start[ops[-1]] + length[ops[-1]]
                    self.own[ops[-1]] -= min(length[index], parent_end - at)
            elif kind == MODULE and modules:
                self.holders.add(spans.what[modules[-1]])
            if kind != LAUNCH:
                stacks[kind].append(index)
