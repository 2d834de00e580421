"""Rotary embedding, half-split: column i of the rotated columns turns with the column half of them further on; or in pairs."""

from typing import TYPE_CHECKING

from ..operator import New
from ..units import Dtype

if TYPE_CHECKING:
    from torch import Tensor


def rotated(x: "Tensor", cos: "Tensor", sin: "Tensor", neox: bool = True) -> "Tensor":
    """x with its first columns turned by the angles, in fp64, unrounded: x [tokens, heads, head_dim], cos, sin [tokens, pairs].

    Two columns turn by each angle, neighbours where not `neox`; the columns after these 2 * pairs stay as they are.
    """
    import torch

    pairs = cos.shape[-1]
    wide, c, s = x.double(), cos.double()[:, None], sin.double()[:, None]
    low, high, rest = wide[..., :pairs], wide[..., pairs : 2 * pairs], wide[..., 2 * pairs :]
    if not neox:
        low, high = wide[..., 0 : 2 * pairs : 2], wide[..., 1 : 2 * pairs : 2]
    turned = [low * c - high * s, high * c + low * s]
    return torch.cat([*(turned if neox else [torch.stack(turned, -1).flatten(-2)]), rest], -1)


def cos_sin(positions: "Tensor", rope_dim: int, base: float) -> "Tensor":
    """cos | sin fp32 [positions, rope_dim] of positions * base^(-2i / rope_dim): a model makes this table once."""
    import torch

    steps = torch.arange(0, rope_dim, 2, dtype=torch.float64, device=positions.device) / rope_dim
    turns = positions[:, None] * base**-steps
    return torch.cat([turns.cos(), turns.sin()], -1).float()


def table(new: New, positions: int, rope_dim: int) -> "Tensor":
    """The table of all positions below `positions`, to the usual base of 10000."""
    import torch

    # Drawn only to be overwritten: what is drawn lies between guard bytes.
    drawn = new.uniform((positions, rope_dim), "fp32")
    return drawn.copy_(cos_sin(torch.arange(positions, device=drawn.device), rope_dim, 10000.0))


def distinct(new: New, tokens: int, positions: int, dtype: Dtype) -> "Tensor":
    """A position for each token, all of them different as far as there are so many: every row of the table counts once."""
    drawn = new.integers((tokens,), dtype, 1)
    some = new.permutation(min(tokens, positions), dtype, of=positions)
    return drawn.copy_(some.repeat(-(-tokens // positions))[:tokens])
