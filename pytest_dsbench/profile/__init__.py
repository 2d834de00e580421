"""Profiles of whole layers: the measured times of their kernels, on one device or several."""

from .files import load, named, names
from .record import Device, Profile, Row, Stated
from .tomlfile import write

__all__ = ["Device", "Profile", "Row", "Stated", "load", "named", "names", "write"]
