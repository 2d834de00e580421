"""The production operators, one file each. Adding a file here adds an operator; nothing lists them."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from ..mistake import Mistake, unknown
from ..operator import Operator, registered, registered_as


def everything() -> dict[str, type[Operator]]:
    """All operators by name: those of this package and those that the user's own modules have defined."""
    _load()
    return registered()


@cache
def _load() -> None:
    """Once: whoever reads many records asks for the operator of each."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


def find(name: str) -> type[Operator]:
    """The operator called `name`. Raises Mistake with the nearest name."""
    _load()
    known = registered_as(name)
    if known is None:
        raise Mistake(unknown("operator", name, everything()))
    return known
