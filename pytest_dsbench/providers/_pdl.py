"""Programmatic dependent launch: one choice for every library, so that two providers differ by their kernels alone."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pdl(x: "Tensor") -> bool:
    """Whether the GPU that holds `x` can start a kernel before the one ahead of it has ended: compute capability 9.0 or more."""
    import torch

    return torch.cuda.get_device_capability(x.device) >= (9, 0)
