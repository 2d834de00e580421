"""Data sheets of the GPUs: one TOML file each, loaded by name or path, or found by what the driver says."""

from .load import load, named, sheets
from .sheet import DriverFacts, Hardware

__all__ = ["DriverFacts", "Hardware", "load", "named", "sheets"]
