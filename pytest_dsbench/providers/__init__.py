"""The providers, one file or folder per library, which lists itself. A library is imported when a launch is prepared."""

from importlib import import_module
from pkgutil import walk_packages


def load() -> None:
    """Imports every module of this package, so that its providers are registered with their operators."""
    for module in walk_packages(__path__, f"{__name__}."):
        import_module(module.name)
