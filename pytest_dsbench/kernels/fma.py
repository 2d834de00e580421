"""A loop of multiply-adds that never leaves the registers: its time moves with the SM clock and with nothing else."""

import triton
import triton.language as tl

#: Elements per program; with four warps each thread keeps eight independent chains in flight, which fills the FMA pipe.
BLOCK = 1024
#: Triton 3.9 warns where enable_fp_fusion is not said.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}


@triton.jit
def fma_loop(out_ptr, factor, rounds, BLOCK: tl.constexpr):  # noqa: N803
    """x = x * factor + (1 - factor), `rounds` times, from a different x per element; below a factor of 1 it settles at 1."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = at.to(tl.float32)
    rest = 1.0 - factor
    for _ in range(rounds):
        x = tl.fma(x, factor, rest)
    # Stored once, so that the loop is not dead code.
    tl.store(out_ptr + at, x)
