"""Stand-ins for libraries of GPU kernels: with their signatures, computed by torch on the CPU. A file per library.

Each knows where in the library's wheel the function stands that it stands in for, so that the signatures can be compared.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch


@dataclass(frozen=True)
class StandIn:
    """One function or method, and where it is defined."""

    #: distributions, as their wheels spell them, any of which has it
    wheels: tuple[str, ...]
    #: file inside the wheel; empty for an operation that is registered with torch
    source: str
    #: as in the file: the first of these that is there
    defined: tuple[str, ...]
    function: Callable[..., Any]

    @property
    def title(self) -> str:
        return f"{self.wheels[0]}-{self.defined[0]}"


#: Every function that an adapter calls.
STAND_INS: list[StandIn] = []
_MODULES: dict[str, dict[str, Any]] = {}
_OPERATIONS: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Library:
    """Collects the stand-ins of one library."""

    wheels: tuple[str, ...]

    def function(self, module: str, source: str, *, defined: tuple[str, ...] = ()) -> Callable[[Any], Any]:
        """Stands in for `module.<name>`, defined in `source`."""

        def add(function: Any) -> Any:
            _MODULES.setdefault(module, {})[function.__name__] = function
            STAND_INS.append(StandIn(self.wheels, source, defined or (function.__name__,), function))
            return function

        return add

    def methods(self, module: str, source: str, **methods: tuple[str, ...]) -> Callable[[type], type]:
        """Stands in for a class: its methods by name, and by which names they are defined."""

        def add(cls: type) -> type:
            _MODULES.setdefault(module, {})[cls.__name__] = cls
            for name, defined in methods.items():
                names = tuple(f"{cls.__name__}.{one}" for one in defined)
                STAND_INS.append(StandIn(self.wheels, source, names, getattr(cls, name)))
            return cls

        return add

    def operation(self, namespace: str, *, overload: bool = True) -> Callable[[Any], Any]:
        """Stands in for `torch.ops.<namespace>.<name>`, called by its default overload or as a packet of overloads."""

        def add(function: Any) -> Any:
            _OPERATIONS.setdefault(namespace, {})[function.__name__] = SimpleNamespace(default=function) if overload else function
            STAND_INS.append(StandIn(self.wheels, "", (function.__name__,), function))
            return function

        return add

    def value(self, module: str, name: str, value: Any) -> None:
        """A constant of a module."""
        _MODULES.setdefault(module, {})[name] = value


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts all of them where imports find them."""
    made: dict[str, ModuleType] = {}
    for path in _MODULES:
        parts = path.split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            if name not in made:
                made[name] = ModuleType(name)
                monkeypatch.setitem(sys.modules, name, made[name])
                if depth > 1:
                    setattr(made[".".join(parts[: depth - 1])], parts[depth - 1], made[name])
    # Functions last: some are called as the module beside them is.
    for path, values in _MODULES.items():
        for name, value in values.items():
            setattr(made[path], name, value)
    for namespace, kernels in _OPERATIONS.items():
        monkeypatch.setattr(torch.ops, namespace, SimpleNamespace(**kernels), raising=False)


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
