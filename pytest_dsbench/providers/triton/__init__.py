"""triton: our own kernels, a file per family.

On a CPU they run only in Triton's interpreter, which shows that they are right, not that they are fast.
"""

import os
from collections.abc import Callable
from typing import Any

from ...operator import Launch, Operator

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def ours(operator: type[Operator], *, inplace: tuple[str, ...] = ()) -> Callable[[Callable[..., Launch]], Callable[..., Any]]:
    """Registers a provider that launches a kernel of this project."""
    devices = ("cpu", "cuda") if _INTERPRETED else ("cuda",)
    return operator.provider("triton", needs=("triton", "torch"), devices=devices, inplace=inplace, timed=not _INTERPRETED)
