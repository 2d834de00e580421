"""What the kernels share: which rows one program takes, how that is tuned, and how fp32 becomes a narrower float."""

from collections.abc import Callable, Sequence
from typing import Any

import triton
import triton.language as tl
import triton.testing
from torch.utils._python_dispatch import _disable_current_modes

#: Rows longer than this are read in pieces: here the 1024 threads of the largest program hold 16 fp32 values each.
LONGEST_ROW = 16384
#: Kernels without such a path hold twice that in registers, and do no longer rows.
WIDEST_ROW = 2 * LONGEST_ROW

#: True under TRITON_INTERPRET=1; read once, since Triton chooses between compiler and interpreter when a kernel is decorated.
INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))

#: Triton 3.9 warns where this is not said, and 3.10 changes what it is then: a sum of squares is to be multiply-adds.
_OPTIONS = {"enable_fp_fusion": True}
_TILES = (4096, 1024, 256)
#: Elements per thread: one to four 16-byte loads of a 16-bit dtype.
_PER_THREAD = (8, 32)
#: Whole rows in registers: TILE elements, but at least one row, per program.
TILES = [triton.Config({"TILE": tile, **_OPTIONS}, num_warps=warps) for tile in _TILES for warps in (1, 2, 4, 8, 16, 32)]
#: Long rows in pieces of BLOCK elements; with STAGES the next pieces are already on their way while one is added up.
PIECES = [
    triton.Config({"BLOCK": block, "STAGES": stages, **_OPTIONS}, num_warps=warps)
    for block, warps in ((4096, 8), (8192, 8), (8192, 16))
    for stages in (1, 3)
]


def tuned(
    configs: Sequence[Any],
    prune: Callable[..., list[Any]] | None = None,
    key: Sequence[str] = ("tokens", "hidden"),
    overwritten: Sequence[str] = (),
) -> Callable[[Any], Any]:
    """`triton.autotune` over `configs` for every value of `key`; in the interpreter, which can time nothing, the first of them.

    `overwritten`: arguments that the kernel both reads and writes; tuning leaves them as they were. The winner is kept on disk,
    so that two sessions on one machine time the same kernel.
    """
    timing = Timing(overwritten)
    return triton.autotune(  # type: ignore[no-any-return]
        configs=list(configs[:1] if INTERPRETED.value else configs),
        key=list(key),
        prune_configs_by={"early_config_prune": prune} if prune else None,
        pre_hook=timing.before if overwritten else None,
        do_bench=timing,
        cache_results=True,
    )


class Timing:
    """Milliseconds of one configuration, from a cold L2 cache.

    Tuning falls into the correctness check, which keeps whatever a provider allocates; what clears the cache is not its business.
    Triton's own `restore_value` would copy tensors inside every timed call; here they drift while one configuration is timed,
    which costs no time, and are put back after it.
    """

    def __init__(self, overwritten: Sequence[str] = ()) -> None:
        self._overwritten = overwritten
        #: what is being timed, with what it was before
        self.kept: list[tuple[Any, Any]] = []

    def before(self, arguments: dict[str, Any], reset_only: bool = False) -> None:
        """Called by Triton ahead of every call; the first one of a configuration is not timed yet."""
        if not self.kept and not reset_only:
            self.kept = [(arguments[name], arguments[name].clone()) for name in self._overwritten]

    def __call__(self, call: Callable[[], Any], quantiles: Sequence[float]) -> Any:
        with _disable_current_modes():
            try:
                return triton.testing.do_bench(call, warmup=10, rep=40, quantiles=quantiles)
            finally:
                for tensor, value in self.kept:
                    tensor.copy_(value)
                self.kept.clear()


def fitting(configs: list[Any], args: dict[str, Any], **meta: Any) -> list[Any]:
    """The configurations that differ at this shape, fill their threads and hold no more rows than there are."""
    block = meta["BLOCK"]
    all_rows = block * triton.next_power_of_2(args["tokens"])
    keep = []
    for config in configs:
        tile = config.kwargs["TILE"]
        useful = tile == min(_TILES) or block < tile <= all_rows
        per_thread = max(tile, block) // (32 * config.num_warps)
        if useful and _PER_THREAD[0] <= per_thread <= _PER_THREAD[1]:
            keep.append(config)
    return keep


def grid(tokens: int, block: int, across: int = 1) -> Callable[[dict[str, Any]], tuple[int]]:
    """One program per TILE // block rows, at least one, and per each of the `across` pieces of a row."""
    return lambda meta: (triton.cdiv(tokens, max(meta["TILE"] // block, 1)) * across,)


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """fp32 `x` as `dtype`, to nearest even.

    A GPU rounds by itself. The interpreter truncates to bf16 and loses the carry where fp8 rounds up to a power of two: there
    the value is first rounded to one that the conversion keeps.
    """
    if INTERPRETED:
        bits = x.to(tl.uint32, bitcast=True)
        if dtype == tl.bfloat16:
            x = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).to(tl.float32, bitcast=True)
        elif dtype == tl.float8e4nv:
            normal = ((bits + 0x7FFFF + ((bits >> 20) & 1)) & 0xFFF00000).to(tl.float32, bitcast=True)
            # Below 2**-6 codes are 2**-9 apart, which is what the last bit of 1.5 * 2**14 is worth in fp32.
            x = tl.where(tl.abs(x) < 0.015625, (x + 24576.0) - 24576.0, normal)
    return x.to(dtype)
