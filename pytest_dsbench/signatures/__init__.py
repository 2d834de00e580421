"""Whether our calls fit what a library defines: both are read from source, so that nothing is imported and no GPU is needed."""

from .calls import Call, calls
from .fit import Misfit, misfits
from .library import Installed, Library, Wheel

__all__ = ["Call", "Installed", "Library", "Misfit", "Wheel", "calls", "misfits"]
