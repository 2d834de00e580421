"""Input tensors: seeded, on the device of the run, with guard bytes on both sides so that a stray write is seen."""

import zlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .operator import Inputs, Operator, Recipe
from .operators._nvfp4 import BLOCK, TILE, WHOLE, padded, quantise, swizzle
from .units import Dtype

_TORCH = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e4m3fnuz": torch.float8_e4m3fnuz,
    "fp8_e5m2": torch.float8_e5m2,
    "int64": torch.int64,
    "int32": torch.int32,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
_OURS = {value: key for key, value in _TORCH.items()}

#: Bytes on either side of every tensor the harness makes: one page's worth of a wide vector store gone astray.
GUARD = 256
#: What guard bytes and unwritten integers hold.
POISON = 0xA5
#: Above this many elements a drawn block is repeated. Its length is prime, so no two rows of a tensor hold the same values
#: at the same columns, and reading the wrong row is still seen.
_BLOCK = 4_194_319


def torch_dtype(dtype: str) -> torch.dtype:
    """The torch dtype of one of our names; fp4 travels as packed uint8."""
    return _TORCH["uint8" if dtype == "fp4_e2m1" else dtype]


def our_dtype(dtype: torch.dtype) -> str:
    """Our name of a torch dtype, or torch's own where we have none."""
    return _OURS.get(dtype, str(dtype).removeprefix("torch."))


class Guarded:
    """Allocates tensors with guard bytes around them and finds the ones that were written past."""

    def __init__(self) -> None:
        self._buffers: list[tuple[str, Tensor]] = []

    def empty(self, shape: Iterable[int], dtype: torch.dtype, device: Any, label: str, poison: bool = False) -> Tensor:
        """An uninitialised (or poisoned) contiguous tensor inside a guarded buffer."""
        shape = tuple(shape)
        size = dtype.itemsize
        for extent in shape:
            size *= extent
        whole = torch.empty(size + 2 * GUARD, dtype=torch.uint8, device=device)
        whole[:GUARD] = POISON
        whole[GUARD + size :] = POISON
        inner = whole[GUARD : GUARD + size].view(dtype).view(shape)
        if poison:
            # All ones is NaN in every float format but fp8_e4m3fnuz, whose NaN is 0x80; integers get a pattern nobody returns.
            fill = 0x80 if dtype is torch.float8_e4m3fnuz else 0xFF if dtype.is_floating_point else POISON
            whole[GUARD : GUARD + size] = fill
        self._buffers.append((label, whole))
        return inner

    def broken(self) -> str | None:
        """The label of a tensor whose guard bytes changed, or None."""
        for device in {whole.device for _, whole in self._buffers}:
            here = [(label, whole) for label, whole in self._buffers if whole.device == device]
            # All guards in one comparison: a case rotates over hundreds of buffers.
            edges = torch.stack([edge for _, whole in here for edge in (whole[:GUARD], whole[-GUARD:])])
            bad = (edges != POISON).any(-1).nonzero()
            if bad.numel():
                return here[int(bad[0]) // 2][0]
        return None


class Maker:
    """Makes the inputs of one content: the `New` of operator.py."""

    def __init__(self, seed: int, device: str, recipe: Recipe = "random", guarded: Guarded | None = None) -> None:
        self.device = device
        self.recipe = recipe
        self.guarded = guarded or Guarded()
        self._generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)

    def _blank(self, shape: tuple[int, ...], dtype: Dtype) -> Tensor:
        if self.device == "meta":
            return torch.empty(shape, dtype=torch_dtype(dtype), device="meta")
        return self.guarded.empty(shape, torch_dtype(dtype), self.device, "an input")

    def _fill(self, out: Tensor, draw: Tensor) -> Tensor:
        """Writes `draw` into `out`, repeated when it is a block of a larger tensor."""
        flat = out.view(-1)
        for start in range(0, flat.numel(), draw.numel() or 1):
            piece = flat[start : start + draw.numel()]
            piece.copy_(draw[: piece.numel()])
        return out

    def _count(self, shape: tuple[int, ...]) -> int:
        count = 1
        for extent in shape:
            count *= extent
        return min(count, _BLOCK)

    def normal(self, shape: tuple[int, ...], dtype: Dtype, std: float = 1.0, mean: float = 0.0) -> Tensor:
        """Independent normal values, rounded to `dtype`."""
        out = self._blank(shape, dtype)
        if self.device == "meta":
            return out
        if self.recipe == "zeros":
            return out.zero_()
        draw = torch.randn(self._count(shape), generator=self._generator, device=self.device)
        # Cast once per block: copying one dtype is what makes large tensors cheap.
        self._fill(out, draw.mul_(std).add_(mean).to(out.dtype))
        if self.recipe == "huge_channel" and out.dim() > 1:
            column = out[..., out.shape[-1] // 2]
            column.copy_((column.float() * 1000).to(out.dtype))
        return out

    def uniform(self, shape: tuple[int, ...], dtype: Dtype, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Independent uniform values in [low, high)."""
        out = self._blank(shape, dtype)
        if self.device == "meta":
            return out
        draw = torch.rand(self._count(shape), generator=self._generator, device=self.device)
        return self._fill(out, draw.mul_(high - low).add_(low).to(out.dtype))

    def quantised(self, shape: tuple[int, ...], dtype: Dtype, block: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Independent normal values as fp8 codes, and one fp32 scale (largest magnitude / largest code) per rows x columns.

        The last block of a matrix may have fewer rows, those of several matrices may not.
        """
        height, width = block
        *lead, rows, columns = shape
        assert not lead or rows % height == 0, "a block must not reach into the next matrix"
        codes, scales = self._blank(shape, dtype), self._blank((*lead, -(-rows // height), columns // width), "fp32")
        if self.device == "meta":
            return codes, scales
        flat_codes, flat_scales = codes.view(-1, columns), scales.view(-1, columns // width)
        largest = torch.finfo(codes.dtype).max
        # Some rows at a time: the values themselves would take four times the memory of their codes.
        step = max(1, _BLOCK // (height * columns)) * height
        draw = torch.randn(self._count(shape), generator=self._generator, device=self.device)
        tape = draw.repeat(1 + -(-step * columns // draw.numel()))
        for start in range(0, len(flat_codes), step):
            some = flat_codes[start : start + step]
            values = tape[start * columns % draw.numel() :][: some.numel()].view(some.shape).clone()
            if self.recipe == "zeros":
                values.zero_()
            elif self.recipe == "huge_channel":
                values[:, columns // 2] *= 1000
            whole = torch.nn.functional.pad(values, (0, 0, 0, -len(values) % height)) if len(values) % height else values
            tiles = whole.view(-1, height, columns // width, width)
            scale = tiles.abs().amax((1, 3)).clamp_min_(1e-12) / largest
            some.copy_((tiles / scale[:, None, :, None]).clamp_(-largest, largest).view(whole.shape)[: len(some)])
            flat_scales[start // height : (start + step) // height] = scale
        return codes, scales

    def nvfp4(self, shape: tuple[int, ...], swizzled: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Independent normal values as NVFP4: codes uint8 [..., columns / 2], e4m3 scales per 16 of a row, global scale fp32 [1].

        Scales are [..., rows, columns / 16], or swizzled 128 x 4 and padded to whole tiles. A value is code * scale / global.
        """
        *lead, rows, columns = shape
        high, wide = padded(rows, columns // BLOCK) if swizzled else (rows, columns // BLOCK)
        codes, scales = self._blank((*lead, rows, columns // 2), "uint8"), self._blank((*lead, high, wide), "fp8_e4m3")
        whole = self._blank((1,), "fp32")
        if self.device == "meta":
            return codes, scales, whole
        draw = torch.randn(self._count(shape), generator=self._generator, device=self.device)
        whole.copy_(WHOLE / (draw.abs().max() * (1000 if self.recipe == "huge_channel" else 1)))
        # Linear rows are all alike; those of a swizzled matrix are tiled by themselves.
        matrices = (
            zip(codes.flatten(0, -3), scales.flatten(0, -3), strict=True)
            if swizzled and lead
            else [(codes.flatten(0, -2), scales.flatten(0, -2))]
        )
        step, begun = max(1, _BLOCK // (TILE[0] * columns)) * TILE[0], 0
        tape = draw.repeat(1 + -(-step * columns // draw.numel()))
        for some_codes, some_scales in matrices:
            for start in range(0, len(some_codes), step):
                part = some_codes[start : start + step]
                values = tape[begun % draw.numel() :][: len(part) * columns].view(-1, columns).clone()
                begun += values.numel()
                if self.recipe == "zeros":
                    values.zero_()
                elif self.recipe == "huge_channel":
                    values[:, columns // 2] *= 1000
                packed, its = quantise(values, whole)
                part.copy_(packed)
                its = swizzle(its) if swizzled else its
                some_scales[start : start + len(its)] = its
        return codes, scales, whole

    def integers(self, shape: tuple[int, ...], dtype: Dtype, high: int, low: int = 0) -> Tensor:
        """Independent integers in [low, high)."""
        out = self._blank(shape, dtype)
        if self.device == "meta":
            return out
        draw = torch.randint(low, high, (self._count(shape),), generator=self._generator, device=self.device)
        return self._fill(out, draw.to(out.dtype))

    def values(self, values: Iterable[int], dtype: Dtype) -> Tensor:
        """A one-dimensional tensor of given integers, such as prefix sums."""
        given = torch.tensor(list(values), dtype=torch_dtype(dtype))
        out = self._blank((given.numel(),), dtype)
        return out if self.device == "meta" else out.copy_(given)

    def permutation(self, count: int, dtype: Dtype, of: int | None = None) -> Tensor:
        """`count` distinct integers out of [0, of), in random order; all of them where `of` is not given."""
        out = self._blank((count,), dtype)
        return out if self.device == "meta" else out.copy_(self._shuffled(count if of is None else of)[:count])

    def routing(self, loads: tuple[int, ...], top_k: int, dtype: Dtype) -> Tensor:
        """Expert ids [tokens, top_k], distinct in every row; `loads` are dealt out to the experts at random."""
        tokens = sum(loads) // top_k
        out = self._blank((tokens, top_k), dtype)
        if self.device == "meta":
            return out
        experts = self._shuffled(len(loads))
        # An expert's run is no longer than a column, so that dealing the runs out column by column gives no row an expert twice.
        dealt = experts.repeat_interleave(torch.tensor(loads, device=self.device)).view(top_k, tokens).T
        order = torch.rand((tokens, top_k), generator=self._generator, device=self.device).argsort(-1)
        return out.copy_(dealt[self._shuffled(tokens)].gather(-1, order))

    def _shuffled(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self._generator, device=self.device)


def seed(op: object, content: int) -> int:
    """The seed of one content of a case: it depends on operator, dimensions and content number, and on nothing else."""
    return zlib.crc32(f"{op!r} {content}".encode())


def make(op: Operator, device: str, content: int = 0, recipe: Recipe = "random", guarded: Guarded | None = None) -> Inputs:
    """The inputs of one content of a case, by name."""
    return op.inputs(Maker(seed(op, content), device, recipe, guarded))
