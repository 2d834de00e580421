"""Pictures of results, as .png and .svg: everything that matplotlib draws from a Collection."""

from .draw import Drawn, Picture, draw
from .write import SUFFIXES, save

__all__ = ["SUFFIXES", "Drawn", "Picture", "draw", "save"]
