"""NVFP4: codes of 4 bits, two of a row to a byte, an fp8 scale per 16 of them, and one fp32 scale over all.

x is code * scale / global_scale, where code is an e2m1 value (0, 0.5, 1, 1.5, 2, 3, 4 or 6, and its sign) and scale an e4m3 one.
Tensor cores read the scales in an order of their own, 128 rows x 4 columns at a time: here "swizzled", and plain rows "linear".
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

#: What the kernels that take or give NVFP4 round to.
HalfDtype = Literal["bf16", "fp16"]
#: Elements that share a scale.
BLOCK = 16
#: Rows and columns of scales that lie together when they are swizzled.
TILE = (128, 4)
#: The largest code and the largest scale.
LARGEST, LARGEST_SCALE = 6.0, 448.0
#: The global scale of values no larger than 1.
WHOLE = LARGEST * LARGEST_SCALE
#: The values of the codes without a sign, in order; bit 3 is the sign.
VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def padded(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of scales once they are swizzled: whole tiles."""
    return -(-rows // TILE[0]) * TILE[0], -(-columns // TILE[1]) * TILE[1]


def scale_bytes(rows: int, columns: int) -> int:
    """Bytes of the scales of rows x columns elements, without padding."""
    return rows * (columns // BLOCK)


def unaligned(multiple: int, **sizes: int) -> str | None:
    """One sentence about the first size that is no multiple, or None."""
    for name, size in sizes.items():
        if size % multiple:
            return f"{name} = {size} is no multiple of {multiple}"
    return None


def e2m1(values: "Tensor") -> "Tensor":
    """The codes nearest to fp32 values, uint8 0 to 15: of two as near the even one; beyond 6 it is 6."""
    import torch

    halfway = torch.tensor([(low + high) / 2 for low, high in pairwise(VALUES)], device=values.device)
    # Just below every other one, so that what is exactly halfway goes up there, to the even code.
    halfway[1::2] = torch.nextafter(halfway[1::2], halfway.new_zeros(()))
    magnitudes = torch.bucketize(values.abs(), halfway, out_int32=True)
    return (magnitudes + 8 * values.signbit()).to(torch.uint8)


def pack(codes: "Tensor") -> "Tensor":
    """Two codes of a row to a byte, the first of them in the low half."""
    return codes[..., ::2] | (codes[..., 1::2] << 4)


def unpack(packed: "Tensor") -> "Tensor":
    """The codes of packed rows, uint8 0 to 15."""
    import torch

    return torch.stack([packed & 15, packed >> 4], -1).flatten(-2)


def decoded(packed: "Tensor") -> "Tensor":
    """The values of packed codes, fp32, twice as many columns."""
    import torch

    values = torch.tensor([*VALUES, *(-value for value in VALUES)], device=packed.device)
    # A byte is both of its codes at once.
    both = torch.stack([values.repeat(16), values.repeat_interleave(16)], -1)
    return both.index_select(0, packed.flatten().int()).view(*packed.shape[:-1], 2 * packed.shape[-1])


def widened(packed: "Tensor", scales: "Tensor") -> "Tensor":
    """code * scale in fp32: packed [..., columns / 2], linear scales [..., columns / 16].

    Six bits hold every such product, so that bf16 and fp16 do too.
    """
    return in_blocks(decoded(packed)).mul_(scales.float()[..., None]).flatten(-2)


def quantise(values: "Tensor", global_scale: "Tensor | float") -> tuple["Tensor", "Tensor"]:
    """Packed codes and linear scales of values [..., columns]; global_scale is a number, or broadcasts to the scales.

    scale = e4m3(global_scale * largest magnitude of the block / 6), code = e2m1(value * global_scale / scale); where the scale is
    0, so are the codes.
    """
    import torch

    blocks = in_blocks(values.float())
    scales = block_scales(blocks, global_scale).to(torch.float8_e4m3fn)
    return pack(e2m1(blocks * factors(scales, global_scale)[..., None]).flatten(-2)), scales


def in_blocks(values: "Tensor") -> "Tensor":
    """Rows [..., columns] as [..., columns / 16, 16]."""
    return values.reshape(*values.shape[:-1], values.shape[-1] // BLOCK, BLOCK)


def block_scales(blocks: "Tensor", global_scale: "Tensor | float") -> "Tensor":
    """The scales of blocks [..., 16] before they are rounded to e4m3, no larger than its largest."""
    return (global_scale * (blocks.abs().amax(-1) / LARGEST)).clamp_(max=LARGEST_SCALE)


def factors(scales: "Tensor", global_scale: "Tensor | float") -> "Tensor":
    """What values are multiplied by to become codes, fp32."""
    wide = scales.float()
    return (global_scale / wide).masked_fill(wide == 0, 0.0)


def swizzle(scales: "Tensor") -> "Tensor":
    """Linear scales [..., rows, columns] in the order of tensor cores, padded with zeros to whole tiles, [..., 128 R, 4 C].

    In memory, (row i, column j) of a matrix lies at byte i//128 * C*512 + j//4 * 512 + i%32 * 16 + i%128//32 * 4 + j%4.
    """
    import torch

    rows, columns = scales.shape[-2:]
    down, across = padded(rows, columns)
    # As bytes, since torch pads no fp8.
    whole = torch.nn.functional.pad(scales.view(torch.uint8), (0, across - columns, 0, down - rows))
    tiles = whole.view(*scales.shape[:-2], -1, 4, 32, across // TILE[1], TILE[1])
    return tiles.movedim(-2, -4).transpose(-2, -3).reshape(whole.shape).view(scales.dtype)


def unswizzle(scales: "Tensor") -> "Tensor":
    """The inverse of `swizzle`, padding included: linear rows of whole tiles."""
    import torch

    across = scales.shape[-1]
    tiles = scales.view(torch.uint8).view(*scales.shape[:-2], -1, across // TILE[1], 32, 4, TILE[1])
    return tiles.transpose(-2, -3).movedim(-4, -2).reshape(scales.shape).view(scales.dtype)


def linear(scales: "Tensor", rows: int, columns: int) -> "Tensor":
    """Of swizzled scales, those of rows x columns elements, as linear rows."""
    return unswizzle(scales)[..., :rows, : columns // BLOCK]
