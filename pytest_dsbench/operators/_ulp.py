"""The spacing of the float dtypes, for tolerances that are counted in it."""

from ..units import FloatDtype

#: One unit in the last place of a value just over 1: relative to other values it is between half of that and all of it.
ULP: dict[FloatDtype, float] = {"fp32": 2.0**-23, "fp16": 2.0**-10, "bf16": 2.0**-7}
