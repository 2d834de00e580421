"""The providers, one file per library. Adding a file here adds its providers; a library is imported when a launch is prepared."""

from importlib import import_module
from pkgutil import iter_modules


def load() -> None:
    """Imports every module of this package, so that its providers are registered with their operators."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
