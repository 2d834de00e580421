"""triton: our own kernels, a file per family.

On a CPU they run only in Triton's interpreter, which shows that they are right, not that they are fast.
"""

import os
from collections.abc import Callable
from typing import Any

from ...operator import Operator
from ...provider import Launch, Unsupported

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def ours(operator: type[Operator], *, inplace: tuple[str, ...] = ()) -> Callable[[Callable[..., Launch]], Callable[..., Any]]:
    """Registers a provider that launches a kernel of this project."""
    devices = ("cpu", "cuda") if _INTERPRETED else ("cuda",)
    return operator.provider("triton", needs=("triton", "torch"), devices=devices, inplace=inplace, timed=not _INTERPRETED)


def in_registers(dimension: str, size: int) -> None:
    """Raises Unsupported where a row of `size` elements does not fit into the registers of one program."""
    from ...kernels.launch import WIDEST_ROW

    if size > WIDEST_ROW:
        raise Unsupported(f"{dimension} = {size}: this kernel keeps rows in registers, up to {WIDEST_ROW} elements")


def on_tensor_cores(dtype: str) -> None:
    """Raises Unsupported for fp32: tensor cores would cut it to tf32."""
    if dtype == "fp32":
        raise Unsupported("dtype = fp32: this kernel multiplies on the tensor cores, which would cut fp32 to tf32")
