"""Run by test_triton_linear_attention.py with TRITON_INTERPRET=1: causal_conv1d at every edge of its groups of eight.

Prints one line per case; exits with 1 where one is not as it should be.
"""

import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from triton_interpreted import wrong

from pytest_dsbench import providers
from pytest_dsbench.kernels import causal_conv1d
from pytest_dsbench.operators.causal_conv1d import CausalConv1d
from pytest_dsbench.provider import Provider

#: The interpreter's one configuration takes 512 elements. Channels that are shorter than a group, that begin in every place of
#: one, that end with one, that fill programs and begin another; a tensor that ends within a group, and one that does not.
SIZES = [(1, 1), (1, 100), (2, 8), (3, 9), (7, 17), (8, 4), (9, 8), (16, 70), (37, 33), (128, 3), (512, 3), (513, 3), (1018, 8)]
OTHERS: list[dict[str, Any]] = [
    {"tokens": 40, "channels": 7, "width": 2, "dtype": "fp16"},
    {"tokens": 41, "channels": 7, "width": 9, "dtype": "fp32"},
    {"tokens": 2, "channels": 7, "width": 9},
    {"tokens": 5, "channels": 8, "width": 3},
]
#: In each of these configurations channels share programs, or have several.
TILED = [(3, 40), (40, 9), (261, 3), (530, 2)]


class Tiled:
    """The kernel in a configuration of choice."""

    def __init__(self, tile: int) -> None:
        self._kernel, self._tile = causal_conv1d.grouped.fn, tile

    def __getitem__(self, grid: Callable[[dict[str, int]], tuple[int]]) -> Callable[..., None]:
        def launch(*args: Any, **kwargs: Any) -> None:
            self._kernel[grid({"TILE": self._tile})](*args, TILE=self._tile, **kwargs)

        return launch


def unfinished(op: CausalConv1d, **inputs: Any) -> Any:
    """A provider that ignores what came before the first token."""
    launch = op.providers["triton"].prepare
    return launch(op, **inputs | {"initial_state": inputs["initial_state"].clone().zero_()})


def run() -> bool:
    """All cases."""
    ours = CausalConv1d.providers["triton"]
    found = [
        (op, "", wrong(ours, op))
        for op in map(CausalConv1d.build, [{"tokens": tokens, "channels": channels} for tokens, channels in SIZES] + OTHERS)
    ]
    for tile in sorted({tile for tile, _ in causal_conv1d._TILES}):
        with patch.object(causal_conv1d, "grouped", Tiled(tile)):
            found += [(op, tile, wrong(ours, op)) for op in (CausalConv1d(tokens=t, channels=c) for t, c in TILED)]
    for op, tile, why in found:
        print("FAIL" if why else "ok  ", op, tile, why or "right")
    op = CausalConv1d(tokens=9, channels=8)
    why = wrong(Provider("unfinished", unfinished, devices=("cpu",)), op)
    print("ok   unfinished" if why else "FAIL unfinished", why or "right")
    return why is not None and not any(why for _, _, why in found)


if __name__ == "__main__":
    providers.load()
    sys.exit(0 if run() else 1)
