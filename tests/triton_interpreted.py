"""Run by test_triton.py with TRITON_INTERPRET=1: the provider "triton" through the harness's own correctness rounds.

Reads the names of operators, or "rounding", one per line. For each it prints one line per case, and at last "done", with "right"
where all of them are as they should be.
"""

import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from samples import SPOIL
from triton_cases import OPERATORS, small

from pytest_dsbench import trial
from pytest_dsbench.check import Wrong
from pytest_dsbench.kernels.launch import narrow
from pytest_dsbench.operator import Launch, Operator, Provider, Unsupported


def too_small(op: Operator, **inputs: Any) -> Launch:
    """A provider whose first output is 0.6 times what it should be; one of integers has a wrong element instead."""
    launch = op.providers["triton"].prepare(op, **inputs)

    def spoilt() -> tuple[Any, ...]:
        out = launch()
        first, *rest = (value.clone() for value in (out if isinstance(out, tuple) else (out,)))
        if first.is_floating_point():
            first = (first.float() * 0.6).to(first.dtype)
        elif op.name in SPOIL:
            SPOIL[op.name](op, dict(zip(op.outputs(), (first, *rest), strict=True)))
        else:
            first.view(-1)[-1] += 1
        return (first, *rest)

    return spoilt


def wrong(provider: Provider, op: Operator) -> str | None:
    """What the harness finds wrong with it, from random, zero and extreme inputs, between guard bytes."""
    try:
        contents = [trial.content(op, "cpu", number) for number in (0, 1)]
        trial.run(op, provider, contents, trial.edge_contents(op, "cpu", contents[0]), "cpu")
    except Wrong as error:
        return str(error)
    return None


def run(name: str) -> bool:
    """All cases of one operator."""
    ours = OPERATORS[name].providers["triton"]
    if ours.absent("cpu"):
        print("FAIL provider 'triton' does not run on the CPU")
        return False
    fine, right = True, []
    for op in small(name):
        try:
            why = wrong(ours, op)
        except Unsupported as error:
            print("none", op, error)
            continue
        fine &= why is None
        right += [op] * (why is None)
        print("FAIL" if why else "ok  ", op, why or "right")
    if right:
        why = wrong(Provider("broken", too_small, devices=("cpu",), inplace=ours.inplace), right[0])
        print("ok   broken," if why else "FAIL broken,", right[0], why or "right")
        fine &= why is not None
    return fine and bool(right)


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


def answer(name: str) -> str:
    """What comes after "done": right, or wrong where a case is not as it should be; what it is has been printed."""
    try:
        return "right" if (rounding() if name == "rounding" else run(name)) else "wrong"
    except Exception:  # noqa: BLE001 - whatever it is, the other operators are still to be run
        traceback.print_exc(file=sys.stdout)
        return "wrong"


if __name__ == "__main__":
    for line in sys.stdin:
        print("done", answer(line.strip()), flush=True)
