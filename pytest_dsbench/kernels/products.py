"""What the kernels with matrix products share: which configurations fit a GPU, operands of tensor cores, the order of tiles."""

from typing import Any

import triton
import triton.language as tl

from .launch import INTERPRETED

#: Bytes of shared memory of a program on Hopper and on Blackwell, less what Triton itself needs of them.
_SHARED = 224 * 1024
#: fp32 values per thread of results alone; with more than that they spill, since operands and addresses need registers too.
_LEAST_PER_THREAD, _MOST_PER_THREAD = 8, 128


def config(stages: int, warps: int, **kwargs: int) -> Any:
    """A configuration; Triton 3.9 warns where enable_fp_fusion is not said."""
    return triton.Config(kwargs | {"enable_fp_fusion": True}, num_warps=warps, num_stages=stages)


def fits(config: Any, shared: int, held: int) -> bool:
    """Whether a program with `shared` bytes of operands on their way and `held` fp32 values in registers fits a multiprocessor.

    One with hardly a value per thread has too many threads.
    """
    return shared <= _SHARED and _LEAST_PER_THREAD <= held / (32 * config.num_warps) <= _MOST_PER_THREAD


@triton.jit
def operand(x):
    """`x` for tl.dot: as it is for tensor cores; in fp32 in the interpreter, which computes nonsense from bf16."""
    if INTERPRETED:
        x = x.to(tl.float32)
    return x


@triton.jit
def bound(count):
    """`count` as the end of a loop: the interpreter of Triton 3.6 cannot count up to a tensor."""
    if INTERPRETED:
        # Returned at once: what is assigned becomes a tensor.
        return count.handle.data.item()
    return count


@triton.jit
def swizzled(number, down, across, GROUP_M: tl.constexpr):  # noqa: N803
    """(row, column) of tile `number` out of down x across: GROUP_M rows of tiles at a time, so that operands are met in L2."""
    first = number // (GROUP_M * across) * GROUP_M
    height = tl.minimum(down - first, GROUP_M)
    within = number % (GROUP_M * across)
    return first + within % height, within // height
