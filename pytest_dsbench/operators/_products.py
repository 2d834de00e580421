"""Dense products of plain floats: the reference, and how far a kernel may be from it."""

from typing import TYPE_CHECKING

from ..operator import Tolerance
from ..units import FloatDtype
from ._rows import by_rows

if TYPE_CHECKING:
    from torch import Tensor

#: By dtype of the output. Sums are made in fp32 and rounded once; where K is split, cuBLAS may round the parts of a sum to 16
#: bits. An fp32 output that was rounded to 16 bits on its way is off by 1.6e-3 in bf16, 2e-4 in fp16.
ROUNDED: dict[FloatDtype, Tolerance] = {
    "bf16": Tolerance(rtol=1e-2, rms=1e-2, rel_l2=4e-3),
    "fp16": Tolerance(rtol=2e-3, rms=2e-3, rel_l2=1e-3),
    "fp32": Tolerance(rtol=1e-4, rms=1e-4, rel_l2=1e-4),
}


def product(rows: "Tensor", weight: "Tensor") -> "Tensor":
    """rows weight^T in fp32: rows [m, k], weight [n, k]."""
    columns = weight.float().T
    return by_rows(lambda some: some.float() @ columns, rows)
