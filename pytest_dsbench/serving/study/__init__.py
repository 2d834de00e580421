"""The published study of expert-parallel decode of DeepSeek-V3, its formulas as written: rates and the search over a grid.

docs/serving.md has the formulas with their units and what is wrong with them.
"""

from .constants import Gpu, Grid, Nic, Study, load
from .rates import Point, Rates, point, rates
from .search import COLUMNS, Row, as_csv, beyond, combinations, search

__all__ = [
    "COLUMNS",
    "Gpu",
    "Grid",
    "Nic",
    "Point",
    "Rates",
    "Row",
    "Study",
    "as_csv",
    "beyond",
    "combinations",
    "load",
    "point",
    "rates",
    "search",
]
