"""Run by test_triton.py with TRITON_INTERPRET=1: the provider "triton" through the harness's own correctness rounds.

Takes the name of an operator, or "rounding". Prints one line per case; exits with 1 where one is not as it should be.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import triton
import triton.language as tl

from pytest_dsbench import providers, trial
from pytest_dsbench.check import Wrong
from pytest_dsbench.kernels.fp8_quant import fp8_quant
from pytest_dsbench.kernels.launch import narrow
from pytest_dsbench.kernels.rms_norm import rms_norm
from pytest_dsbench.operator import Launch, Operator, Provider
from pytest_dsbench.operators import find

# (1, 1) to (3, 1000): the interpreter's one configuration holds 4096 elements, so rows per program are 4096 down to 4, and never
# divide the rows. 1023 and 1536 are more than one program wide in silu_and_mul, with a masked tail and without.
SHAPES = [(1, 1), (5, 1), (3, 127), (19, 129), (2, 128), (6, 1000), (3, 1023), (5, 1536), (2, 4097)]
#: Past the pieces of 4096 that the interpreter reads long rows in, by nothing, by one and by half.
LONG = [(3, 129), (1, 4096), (2, 4097), (3, 6144)]


def in_pieces(op: Operator, **inputs: Any) -> Launch:
    """A provider that takes the path for rows too long for registers."""
    if op.name == "rms_norm":
        return partial(rms_norm, **inputs, eps=op.eps, longest=64)
    return partial(fp8_quant, **inputs, longest=64)


def too_small(ours: Provider, op: Operator, **inputs: Any) -> Launch:
    """A provider whose first output is 0.6 times what it should be."""
    launch = ours.prepare(op, **inputs)

    def scaled() -> Any:
        out = launch()
        first, *rest = out if isinstance(out, tuple) else (out,)
        first = (first.float() * 0.6).to(first.dtype)
        return (first, *rest) if rest else first

    return scaled


def wrong(provider: Provider, op: Operator) -> str | None:
    """What the harness finds wrong with it, from random, zero and extreme inputs, between guard bytes."""
    try:
        contents = [trial.content(op, "cpu", number) for number in (0, 1)]
        trial.run(op, provider, contents, trial.edge_contents(op, "cpu", contents[0]), "cpu")
    except Wrong as error:
        return str(error)
    return None


def cases(kind: type[Operator]) -> Iterator[tuple[str, Operator, Provider, bool]]:
    """(label, operator, provider, whether it must pass)."""
    ours = kind.providers["triton"]
    for tokens, hidden in SHAPES:
        yield "whole", kind(tokens=tokens, hidden=hidden), ours, True
    for dtype in ("fp16", "fp32"):
        yield "whole", kind(tokens=5, hidden=257, dtype=dtype), ours, True
    broken = Provider(name="broken", prepare=partial(too_small, ours), devices=("cpu",))
    yield "0.6x", kind(tokens=6, hidden=1000), broken, False
    if kind.name != "silu_and_mul":
        pieces = Provider(name="pieces", prepare=in_pieces, devices=("cpu",))
        for tokens, hidden in LONG:
            yield "pieces", kind(tokens=tokens, hidden=hidden), pieces, True


def run(name: str) -> bool:
    """All cases of one operator."""
    kind = find(name)
    if kind.providers["triton"].absent("cpu"):
        print("FAIL provider 'triton' does not run on the CPU")
        return False
    fine = True
    for label, op, provider, should_pass in cases(kind):
        why = wrong(provider, op)
        as_it_should = (why is None) == should_pass
        fine &= as_it_should
        print("ok  " if as_it_should else "FAIL", label, op, why or "right")
    return fine


@triton.jit
def _narrowed(x_ptr, out_ptr, count, BLOCK: tl.constexpr):  # noqa: N803
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < count)
    tl.store(out_ptr + at, narrow(x, out_ptr.dtype.element_ty), mask=at < count)


def rounding() -> bool:
    """Whether the interpreter's conversions are those of torch: every exponent, ties, and the values around them."""
    ties = torch.arange(-(2**12), 2**12, dtype=torch.float32).add(0.5)
    x = torch.cat([ties * 2.0**exponent for exponent in range(-24, -3)])
    fine = True
    for dtype, convert in _CONVERSIONS.items():
        given = convert(x)
        out = torch.empty(given.shape, dtype=dtype)
        _narrowed[(1,)](given, out, given.numel(), BLOCK=triton.next_power_of_2(given.numel()))
        same = torch.equal(out.float(), given.to(dtype).float())
        print("ok  " if same else "FAIL", "rounding", dtype)
        fine &= same
    return fine


_CONVERSIONS: dict[torch.dtype, Callable[[torch.Tensor], torch.Tensor]] = {
    torch.bfloat16: lambda x: x,
    torch.float16: lambda x: x,
    torch.float8_e4m3fn: lambda x: x.clamp(-448, 448),
}

if __name__ == "__main__":
    providers.load()
    sys.exit(0 if (rounding() if sys.argv[1] == "rounding" else run(sys.argv[1])) else 1)
