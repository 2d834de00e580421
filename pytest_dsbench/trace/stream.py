"""The events of a trace file one by one, in bounded memory: JSON of any layout, gzip or not, whole or cut."""

import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from ..mistake import Mistake
from .unpack import PIECE, text, unpacked

#: No event is longer, in characters; what cannot be read within as many is not an event.
_LONGEST_EVENT = 1 << 22
#: No other value of a trace file is longer; it would have to be held at once.
_LONGEST_VALUE = 1 << 28

_GAP = re.compile(r"[\s,]*")
_SPACE = re.compile(r"\s*")
#: Where the next event may begin, behind one that cannot be read.
_NEXT = re.compile(r"\{(?=\s*\"(?:ph|name|cat|pid|ts)\"\s*:)")
#: What the decoder raises on bad JSON: brackets thousands deep, and integers of thousands of digits, too.
_BAD = (ValueError, RecursionError)


class Source:
    """A trace file: iterate it once for its events; `head` and `complaints` are complete afterwards."""

    def __init__(self, path: Path) -> None:
        """Raises Mistake where the file cannot be opened."""
        self.path = path
        #: the keys beside the events
        self.head: dict[str, Any] = {}
        #: what was passed over, a sentence each
        self.complaints: list[str] = []
        #: events that were read
        self.count = 0
        # Names of kernels may hold control characters, which strict JSON forbids.
        self._decode = json.JSONDecoder(strict=False).raw_decode
        self._text, self._at, self._lines, self._passed = "", 0, 1, 0
        self._ended = False
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise Mistake(f"{path}: cannot be read: {error.strerror}; expected a trace file of torch.profiler") from None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Raises Mistake where the file is no trace."""
        with self._file as file:
            self._pieces = text(unpacked(file, self._cut))
            first = self._peek(_SPACE)
            if first == "[":
                self._at += 1
                yield from self._events()
            elif first == "{":
                self._at += 1
                yield from self._members()
            else:
                what = f"is neither a JSON object nor a list: it begins with {first!r}" if first else "is empty"
                raise Mistake(f"{self.path}: {what}; expected a trace that torch.profiler exported, .json or .json.gz")
            # Only the end of a gzip file says whether all of it was right.
            while self._more():
                self._at = len(self._text)

    def _members(self) -> Iterator[dict[str, Any]]:
        """The events, from among the keys of the outer object."""
        found = False
        while True:
            first = self._peek(_GAP)
            if first == "}":
                break
            try:
                key = self._value() if first == '"' else None
            except _BAD:
                key = None
            if not isinstance(key, str) or self._peek(_SPACE) != ":":
                self._stop(found, "ends before its last bracket" if self._over() else "has no key where one belongs")
                break
            self._at += 1
            if key == "traceEvents" and self._peek(_SPACE) == "[":
                found, self._at = True, self._at + 1
                if (yield from self._events()):
                    continue
                return
            try:
                self.head[key] = self._value()
            except _BAD:
                self._stop(found, f"has no readable value of {key!r}")
                break
        if not found:
            keys = ", ".join(list(self.head)[:8]) or "none"
            raise Mistake(f"{self.path}: JSON, but no trace: it has no list traceEvents, its keys are: {keys}")

    def _stop(self, found: bool, what: str) -> None:
        where = f"{self._where()}: the file {what}"
        if not found:
            raise Mistake(f"{where}; expected a trace that torch.profiler exported")
        self.complaints.append(f"{where}; its {self.count:,} events are used")

    def _events(self) -> Generator[dict[str, Any], None, bool]:
        """The events of the list; false where it has no end."""
        while True:
            first = self._peek(_GAP)
            if first == "]":
                self._at += 1
                return True
            if not first:
                self.complaints.append(
                    f"{self._where()}: the file ends before the list of events does; the {self.count:,} events before are used"
                )
                return False
            try:
                event = self._value(_LONGEST_EVENT)
            except _BAD:
                if not self._skip():
                    return False
                continue
            if isinstance(event, dict):
                self.count += 1
                yield event
            else:
                self.complaints.append(f"{self._where()}: {str(event)[:40]!r} in the list of events is none; it is passed over")

    def _skip(self) -> bool:
        """Goes to the next event behind one that cannot be read; false where there is none."""
        where, began = self._where(), self._passed + self._at
        self._at += 1
        while True:
            for found in _NEXT.finditer(self._text, self._at):
                try:
                    self._decode(self._text, found.start())
                except _BAD:
                    continue
                self._at = found.start()
                skipped = self._passed + self._at - began
                self.complaints.append(f"{where}: {skipped:,} characters are no event; they are passed over")
                return True
            self._at = max(self._at, len(self._text) - _LONGEST_EVENT)
            if not self._more():
                self.complaints.append(f"{where}: the file is cut or broken here; the {self.count:,} events before are used")
                self._at = len(self._text)
                return False

    def _value(self, longest: int = _LONGEST_VALUE) -> Any:
        """The JSON value here; raises ValueError or RecursionError where there is none."""
        wanted = PIECE
        self._peek(_SPACE)
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                # A number that reaches the end of what was read may go on.
                if end < len(self._text) or not self._more():
                    self._at = end
                    return value
            except _BAD:
                if len(self._text) - self._at > longest or not self._more():
                    raise
            # Each retry reads twice as much, so that a long value is not read over and over.
            while len(self._text) - self._at < wanted and self._more():
                pass
            wanted *= 2

    def _peek(self, space: re.Pattern[str]) -> str:
        """The next character that is no space; "" at the end of the file."""
        while True:
            found = space.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Reads on, and lets go of what was passed; false at the end of the file."""
        piece = None if self._ended else next(self._pieces, None)
        if piece is None:
            self._ended = True
            return False
        self._lines += self._text.count("\n", 0, self._at)
        self._passed += self._at
        self._text, self._at = self._text[self._at :] + piece, 0
        return True

    def _over(self) -> bool:
        return self._ended and self._at >= len(self._text)

    def _where(self) -> str:
        """`path:line` and the character: traces may be one long line."""
        line = self._lines + self._text.count("\n", 0, self._at)
        return f"{self.path}:{line} (character {self._passed + self._at:,})"

    def _cut(self, what: str) -> None:
        self.complaints.append(f"{self.path}: {what}; what was read before is used")
