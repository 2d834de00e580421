"""What the stand-ins know of NVFP4, by the definitions: bits of a code, bytes of a scale."""

import torch
from torch import Tensor


def offsets(rows: int, columns: int, width: int) -> Tensor:
    """The byte of the scale (row, column) among swizzled ones, int64 [rows, columns]; width is columns in whole tiles."""
    i, j = torch.arange(rows)[:, None], torch.arange(columns)
    return i // 128 * (width // 4) * 512 + j // 4 * 512 + i % 32 * 16 + i % 128 // 32 * 4 + j % 4


def values(packed: Tensor) -> Tensor:
    """Of codes, two to a byte, by sign, exponent and mantissa."""
    codes = torch.empty((*packed.shape[:-1], 2 * packed.shape[-1]), dtype=torch.float32)
    for place, nibble in enumerate((packed % 16, packed // 16)):
        exponent, mantissa = (nibble // 2 % 4).float(), (nibble % 2).float()
        size = torch.where(exponent == 0, mantissa / 2, (1 + mantissa / 2) * 2 ** (exponent - 1))
        codes[..., place::2] = torch.where(nibble > 7, -size, size)
    return codes


def plain(packed: Tensor, scales: Tensor) -> Tensor:
    """Codes times scales [rows, columns / 16]."""
    return values(packed) * scales.float().repeat_interleave(16, -1)


def tiled(packed: Tensor, scales: Tensor) -> Tensor:
    """Codes times swizzled scales."""
    rows, columns = packed.shape[0], packed.shape[1] // 8
    assert scales.dtype == torch.float8_e4m3fn and scales.shape[0] % 128 == 0 and scales.shape[1] == -(-columns // 4) * 4
    flat = scales.contiguous().view(torch.uint8).view(-1)
    return plain(packed, flat[offsets(rows, columns, scales.shape[1])].view(torch.float8_e4m3fn))


def product(a: Tensor, a_scales: Tensor, b: Tensor, b_scales: Tensor) -> Tensor:
    """a b^T of codes with swizzled scales, fp32."""
    return tiled(a, a_scales) @ tiled(b, b_scales).T


def rounded(x: Tensor, whole: float) -> tuple[Tensor, Tensor]:
    """Packed codes and scales [rows, columns / 16], multiplied by reciprocals as kernels do: of 6 and of the global scale."""
    blocks = x.float().unflatten(-1, (-1, 16))
    scales = (whole * (blocks.abs().amax(-1) * (1 / 6))).clamp(max=448).to(torch.float8_e4m3fn)
    wide = scales.float()
    factor = torch.where(wide > 0, 1 / (wide * (1 / whole)), 0.0)
    scaled = (blocks * factor[..., None]).flatten(-2)
    steps = values(torch.arange(8, dtype=torch.uint8)[:, None])[:, 0]
    apart = (scaled.abs()[..., None] - steps).abs()
    # Of two as near, the even one: odd codes are handicapped by less than any other difference.
    codes = (apart + torch.tensor([0.0, 1e-7] * 4)).argmin(-1) + 8 * scaled.signbit()
    return (codes[..., ::2] + 16 * codes[..., 1::2]).to(torch.uint8), scales
