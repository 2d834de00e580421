"""The two fp8 encodings as torch names them."""

from typing import TYPE_CHECKING

from ..units import Fp8Dtype

if TYPE_CHECKING:
    import torch


def encoding(fp8: Fp8Dtype) -> "torch.dtype":
    """The torch dtype of one of our names."""
    import torch

    return torch.float8_e4m3fn if fp8 == "fp8_e4m3" else torch.float8_e4m3fnuz
