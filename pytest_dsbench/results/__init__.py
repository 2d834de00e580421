"""Results: runs as reports read them, every record with its run, kept apart by device. Nothing here needs torch or a GPU."""

from .collect import Collection, Device, Source, collect
from .pairs import Comparison, Pair, compare
from .result import Result

__all__ = ["Collection", "Comparison", "Device", "Pair", "Result", "Source", "collect", "compare"]
