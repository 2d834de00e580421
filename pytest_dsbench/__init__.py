"""pytest-dsbench: how close each kernel is to the limit of the hardware, whether it is right, and whether it got slower.

The public names, each imported when it is first used: an unrelated pytest run that merely has this plugin installed pays nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench import bench
    from .hardware import Hardware
    from .operator import EXACT, Dim, Inputs, Lengths, New, Operator, Ragged, Spec, Tolerance
    from .operators import find
    from .provider import Launch, Provider, Unsupported
    from .roofline import Bound, bound
    from .shapes import Case, load
    from .units import Dtype, nbytes
    from .work import Work

__all__ = [
    "EXACT",
    "Bound",
    "Case",
    "Dim",
    "Dtype",
    "Hardware",
    "Inputs",
    "Launch",
    "Lengths",
    "New",
    "Operator",
    "Provider",
    "Ragged",
    "Spec",
    "Tolerance",
    "Unsupported",
    "Work",
    "bench",
    "bound",
    "find",
    "load",
    "nbytes",
]

_HOMES = {
    "bench": "bench",
    "hardware": "Hardware",
    "operator": "EXACT Dim Inputs Lengths New Operator Ragged Spec Tolerance",
    "operators": "find",
    "provider": "Launch Provider Unsupported",
    "roofline": "Bound bound",
    "shapes": "Case load",
    "units": "Dtype nbytes",
    "work": "Work",
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names.split():
            # The submodule `bench` must not shadow the function of that name: both names end up as the function.
            value = getattr(import_module(f".{module}", __name__), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
