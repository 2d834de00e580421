"""What the tests know of each operator beside what it says itself: small sizes, cheats, what it must touch. A file per family.

A family's module defines any of the names below; here they are put together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Cheat:
    """A wrong kernel that a lax check would pass: (op, inputs, right outputs) -> its outputs, all of which must be refused."""

    operator: str
    dims: dict[str, Any]
    #: such as "un-rotated", "without the mask", "unweighted"
    what: str
    outputs: Callable[[Any, Tensors, Tensors], Tensors]


#: Operator and dimensions: small ones, odd ones and 1 among them, of every operator and every option that it has.
SMALL: list[tuple[str, dict[str, Any]]] = []
CHEATS: list[Cheat] = []
#: Operator, dimensions that contradict each other, and a pattern of the sentence that says so.
CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = []
#: By operator that does not need every byte of its inputs or outputs: (op, inputs on the meta device) -> bytes read and written.
NEEDED: dict[str, Callable[[Any, Tensors], tuple[int, int]]] = {}
#: By operator whose reference multiplies more than it must, or cannot run on the meta device: op -> FLOP of its matrix products,
#: counted in another way than work() counts them.
MATRIX: dict[str, Callable[[Any], int]] = {}
#: By operator with fewer or other wrong elements to find than the last one of each output: (op, outputs) -> None, spoils them.
SPOIL: dict[str, Callable[[Any, Tensors], None]] = {}

for _module in iter_modules(__path__):
    _found = import_module(f"{__name__}.{_module.name}")
    for _name, _all in (("SMALL", SMALL), ("CHEATS", CHEATS), ("CONTRADICTIONS", CONTRADICTIONS)):
        _all.extend(getattr(_found, _name, []))
    for _name, _known in (("NEEDED", NEEDED), ("MATRIX", MATRIX), ("SPOIL", SPOIL)):
        _known.update(getattr(_found, _name, {}))
