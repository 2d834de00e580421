"""Schemas of operations that shared libraries register with torch: strings in their binaries."""

import re
from collections.abc import Iterator
from inspect import Parameter, Signature


class Schemas:
    """The schemas in some shared libraries, read as far as needed: the largest have hundreds of megabytes."""

    def __init__(self, binaries: Iterator[bytes]) -> None:
        self._binaries = binaries
        self._known: dict[str, str] = {}

    def find(self, name: str) -> str | None:
        """The schema of an operation."""
        while name not in self._known:
            binary = next(self._binaries, None)
            if binary is None:
                return None
            for text in _between_zeros(binary, b") -> "):
                self._known.setdefault(text.partition("(")[0], text)
        return self._known[name]


def _between_zeros(binary: bytes, part: bytes) -> Iterator[str]:
    """The strings of a binary, which zeros end, that hold `part` and begin with a name and a bracket."""
    at = binary.find(part)
    while at >= 0:
        start, end = binary.rfind(b"\0", 0, at) + 1, binary.find(b"\0", at)
        text = binary[start:end].decode(errors="replace")
        if re.match(r"[A-Za-z_]\w*\(", text):
            yield text
        at = binary.find(part, end)


def parsed(schema: str) -> Signature:
    """The signature of "name(Tensor! out, Tensor[] x, float eps=1e-6, *, bool pdl) -> ()"."""
    inner = schema[schema.index("(") + 1 : schema.rindex("->")].rstrip()[:-1]
    # Alias annotations, "Tensor(a!)", hold no comma and no argument.
    pieces = [piece.strip() for piece in re.sub(r"\([^()]*\)", "", inner).split(",") if piece.strip()]
    named, parameters = False, []
    for piece in pieces:
        words, equals, _ = piece.partition("=")
        kind = Parameter.KEYWORD_ONLY if named else Parameter.POSITIONAL_OR_KEYWORD
        if piece == "*":
            named = True
        else:
            parameters.append(Parameter(words.split()[-1], kind, default=None if equals else Parameter.empty))
    return Signature(parameters)
