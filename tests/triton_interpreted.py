"""Run by test_triton.py with TRITON_INTERPRET=1: the provider "triton" through the harness's own correctness rounds.

Reads the names of operators, or of a check in EXTRA, one per line. For each it prints one line per case, and at last "done", with
"right" where all of them are as they should be.
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
from pytest_dsbench.kernels.reshape_and_cache import reshape_and_cache
from pytest_dsbench.kernels.topk_softmax import topk_softmax
from pytest_dsbench.operator import Operator
from pytest_dsbench.provider import Launch, Provider, Unsupported


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


def said(what: str, right: bool) -> bool:
    """Prints one line, and gives back whether it is right."""
    print("ok  " if right else "FAIL", what)
    return right


def rounding() -> bool:
    """Whether the interpreter's conversions are those of torch: every exponent, ties, and the values around them."""
    ties = torch.arange(-(2**12), 2**12, dtype=torch.float32).add(0.5)
    x = torch.cat([ties * 2.0**exponent for exponent in range(-24, -3)])
    fine = []
    for dtype, convert in _CONVERSIONS.items():
        given = convert(x)
        out = torch.empty(given.shape, dtype=dtype)
        _narrowed[(1,)](given, out, given.numel(), BLOCK=triton.next_power_of_2(given.numel()))
        fine.append(said(f"rounding to {dtype}", torch.equal(out.float(), given.to(dtype).float())))
    return all(fine)


_CONVERSIONS: dict[torch.dtype, Callable[[torch.Tensor], torch.Tensor]] = {
    torch.bfloat16: lambda x: x,
    torch.float16: lambda x: x,
    torch.float8_e4m3fn: lambda x: x.clamp(-448, 448),
}


def ties() -> bool:
    """Whether equal experts come in the order of their ids, and masked ones, of -inf, after all others."""
    logits = torch.tensor([[1.0, 2.0, 2.0, 1.0, 2.0], [0.0] * 5, [-torch.inf, 1.0, -torch.inf, -3.0, -torch.inf]])
    weights, ids = topk_softmax(logits, 5)
    right = logits.double().softmax(-1).gather(1, ids.long())
    fine = [
        said(f"expected {expected}, got {got}", expected == got)
        for expected, got in zip([[1, 2, 4, 0, 3], [0, 1, 2, 3, 4], [1, 3, 0, 2, 4]], ids.tolist(), strict=True)
    ]
    return said("their weights", torch.allclose(weights.double(), right, rtol=1e-6)) and all(fine)


def skipped_slots() -> bool:
    """Whether a token without a slot, as padding has none, leaves the caches alone."""
    key, cache, slots = torch.arange(6.0).view(3, 1, 2), torch.full((2, 2, 1, 2), -1.0), torch.tensor([3, -1, 0])
    keys, values = reshape_and_cache(key, -key, cache.clone(), cache.clone(), slots)
    expected = [[4.0, 5.0], [-1.0, -1.0], [-1.0, -1.0], [0.0, 1.0]]
    fine = [said("keys", keys.view(4, 2).tolist() == expected)]
    fine.append(said("values", values.view(4, 2)[[0, 3]].tolist() == [[-4.0, -5.0], [0.0, -1.0]]))
    return said("the other values", bool((values.view(4, 2)[1:3] == -1).all())) and all(fine)


#: What no operator asks for.
EXTRA: dict[str, Callable[[], bool]] = {"rounding": rounding, "ties": ties, "skipped slots": skipped_slots}


def answer(name: str) -> str:
    """What comes after "done": right, or wrong where a case is not as it should be; what it is has been printed."""
    try:
        return "right" if (EXTRA[name]() if name in EXTRA else run(name)) else "wrong"
    except Exception:  # noqa: BLE001 - whatever it is, the other operators are still to be run
        traceback.print_exc(file=sys.stdout)
        return "wrong"


if __name__ == "__main__":
    for line in sys.stdin:
        print("done", answer(line.strip()), flush=True)
