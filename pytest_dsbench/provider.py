"""Provider: one implementation of one operator, by one library. Nothing here imports torch, or any such library."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from .formula import Condition
from .mistake import Mistake

#: One call of the kernel under test: nothing but the launch. It returns the outputs in the operator's order.
Launch = Callable[[], Any]


class Unsupported(Exception):
    """Raised by a provider's function for a case that its library does not do; the case is skipped with this reason."""


@dataclass(frozen=True)
class Provider:
    """One implementation of one operator, by one library."""

    name: str
    #: (op, **inputs) -> Launch; everything but the launch happens in here, outside the clock
    prepare: Callable[..., Launch]
    #: distributions that must all be installed, by their name on the package index; "a|b" means either
    needs: tuple[str, ...] = ()
    #: kinds of device it runs on
    devices: tuple[str, ...] = ("cuda",)
    #: inputs that the launch overwrites; the harness restores them outside the clock
    inplace: tuple[str, ...] = ()
    #: runs only when --dsbench-provider names it
    opt_in: bool = False
    #: false where it is only checked, since its speed here says nothing, as in an interpreter
    timed: bool = True
    #: what a case must keep to, and why: {"1 <= tokens <= 16": "one kernel per number of tokens"}; else it is skipped
    limits: Mapping[str, str] = field(default_factory=dict)
    #: GPU architectures it is built for, such as "sm_100" or "sm_90+"; none where nothing is known
    arch: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """`path:line` of the provider's function."""
        code = self.prepare.__code__
        path = Path(code.co_filename)
        return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{code.co_firstlineno}"

    def absent(self, kind: str) -> str | None:
        """One sentence why it cannot run here, on a device of `kind`; None when it can. Nothing is imported to find out."""
        if kind not in self.devices:
            return f"runs on {' and '.join(self.devices)}, the device here is {'the cpu' if kind == 'cpu' else kind}"
        for need in self.needs:
            if not any(_version(name) for name in need.split("|")):
                return f"needs {need.replace('|', ' or ')}, not installed here"
        return None

    def packages(self) -> dict[str, str]:
        """The installed distributions it needs, with their versions."""
        versions = {name: _version(name) for need in self.needs for name in need.split("|")}
        return {name: version for name, version in versions.items() if version is not None}


@cache
def _version(distribution: str) -> str | None:
    """The installed version of a distribution, from its metadata; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def check_limits(provider: str, limits: Mapping[str, str], archs: tuple[str, ...]) -> None:
    """Raises Mistake for a limit that cannot be read, or an architecture that is none."""
    try:
        for text in limits:
            Condition(text)
    except Mistake as error:
        raise Mistake(f"provider {provider!r}: {error}") from None
    for arch in archs:
        if not re.fullmatch(r"sm_\d{2,3}\+?", arch):
            raise Mistake(f"provider {provider!r}: {arch!r} is no architecture; expected such as 'sm_90' or 'sm_90+'")
