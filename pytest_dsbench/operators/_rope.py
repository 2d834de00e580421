"""Rotary embedding, half-split: column i of the rotated columns turns with the column half of them further on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rotated(x: "Tensor", cos: "Tensor", sin: "Tensor") -> "Tensor":
    """x with its first columns turned by the angles, in fp64, unrounded: x [tokens, heads, head_dim], cos, sin [tokens, pairs].

    Two columns turn by each angle; the columns after these 2 * pairs stay as they are.
    """
    import torch

    pairs = cos.shape[-1]
    wide, c, s = x.double(), cos.double()[:, None], sin.double()[:, None]
    low, high, rest = wide[..., :pairs], wide[..., pairs : 2 * pairs], wide[..., 2 * pairs :]
    return torch.cat([low * c - high * s, high * c + low * s, rest], -1)
