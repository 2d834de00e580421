"""Run by test_triton_products.py with TRITON_INTERPRET=1: what the correctness rounds of the harness do not reach.

Takes the name of one of the functions below, which raises AssertionError where something is not as it should be.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from pytest_dsbench.kernels import block_scaled_mm, fused_moe, paged_attention
from pytest_dsbench.kernels.moe_align import align, most_blocks
from pytest_dsbench.kernels.products import swizzled
from pytest_dsbench.operator import Operator
from pytest_dsbench.operators.block_scaled_mm import BlockScaledMm
from pytest_dsbench.operators.fused_moe import FusedMoe
from pytest_dsbench.operators.paged_attention_decode import PagedAttentionDecode
from pytest_dsbench.tensors import make


def alignment() -> None:
    """In one part and in many, with and without experts that have no tokens, against a stable sort."""
    generator = torch.Generator().manual_seed(0)
    for tokens, experts, top_k, block, piece in (
        *((1, 8, 1, 16, 4096), (37, 5, 3, 16, 4096), (300, 40, 2, 16, 256), (61, 70, 4, 128, 4096), (1100, 3, 1, 64, 256)),
        # More pieces than parts: every part looks at two of them.
        (8500, 2, 1, 128, 256),
    ):
        ids = torch.randint(0, experts, (tokens, top_k), generator=generator, dtype=torch.int32)
        # The last third of the experts gets nothing.
        ids[ids > 2 * experts // 3] = 0
        pairs, owners, padded = align(ids, experts, block, piece=piece)
        flat = ids.flatten()
        order, want_owners = [], []
        for expert in range(experts):
            own = (flat == expert).nonzero().flatten().tolist()
            own += [flat.numel()] * (-len(own) % block)
            order += own
            want_owners += [expert] * (len(own) // block)
        assert padded.tolist() == [len(order)]
        assert len(pairs) == block * len(owners) == block * most_blocks(flat.numel(), experts, block) >= len(order)
        assert pairs[: len(order)].tolist() == order
        assert owners[: len(want_owners)].tolist() == want_owners


def in_every_tile(kernel: Any, configs: list[Any], call: Callable[[], Any]) -> Iterator[Any]:
    """What `call` gives in each configuration that differs in the interpreter, which otherwise takes the first one alone."""
    tiles = {str(sorted(config.kwargs.items())): config for config in configs}
    assert len(tiles) > 2
    before = kernel.configs
    for config in tiles.values():
        kernel.configs = [config]
        yield call()
    kernel.configs = before


def right(op: Operator, inputs: Any, got: Any) -> None:
    want = op.reference(**inputs)
    assert (got - want).norm() < (op.tolerance["out"].rel_l2 or 0.0) * want.norm()


def tiles() -> None:
    """Every tile of every kernel, and in fused_moe every height of a block."""
    for group_n in (64, 1):
        op: Operator = BlockScaledMm(m=70, n=192, k=96, group_n=group_n, group_k=48)
        scaled = make(op, "cpu")

        def multiply(group_n: int = group_n, scaled: Any = scaled) -> Any:
            return block_scaled_mm.block_scaled_mm(**scaled, group_n=group_n, group_k=48, out_dtype=torch.float32)

        for got in in_every_tile(block_scaled_mm.scaled_product, block_scaled_mm.CONFIGS, multiply):
            right(op, scaled, got)
    op = FusedMoe(tokens=21, hidden=144, intermediate=40, experts=3, top_k=2)
    routed = make(op, "cpu")
    for got in in_every_tile(fused_moe.grouped_product, fused_moe.CONFIGS, lambda: fused_moe.fused_moe(**routed)):
        right(op, routed, got)
    for rows in (32, 64, 128):
        right(op, routed, fused_moe.fused_moe(**routed, rows=rows))
    op = PagedAttentionDecode(q_heads=2, kv_heads=1, head_dim=24, kv_lens=(300, 64, 1))
    paged = make(op, "cpu")

    def attend() -> Any:
        return paged_attention.paged_attention(**paged, longest=300, keys=256)

    for got in in_every_tile(paged_attention.attend_part, paged_attention.CONFIGS, attend):
        right(op, paged, got)


def parts() -> None:
    """Lengths 1 to 300 in parts of 128 and in one, in both layouts, among keys and values that were never written."""
    for layout in ("packed", "nhd"):
        op = PagedAttentionDecode(q_heads=3, kv_heads=1, head_dim=72, kv_lens=(1, 127, 128, 129, 256, 300, 31), layout=layout)
        inputs = make(op, "cpu")
        want = op.reference(**inputs)
        unwritten = torch.ones((len(inputs["k_cache"]), op.page_size), dtype=torch.bool)
        for row, length in zip(inputs["block_tables"], op.kv_lens, strict=True):
            for key in range(length):
                unwritten[row[key // op.page_size], key % op.page_size] = False
        for cache in (inputs["k_cache"], inputs["v_cache"]):
            # The slots of a page are its next to last or its last dimension in the packed layout, and its first in the other.
            slots = 0 if layout == "nhd" else cache.dim() - (3 if cache.dim() == 5 else 2)
            pages = cache.movedim(slots + 1, 1) if layout == "packed" else cache
            pages[unwritten] = float("nan")
        free = int(unwritten.all(1).nonzero()[0])
        for row, length in zip(inputs["block_tables"], op.kv_lens, strict=True):
            row[-(-length // op.page_size) :] = free
        one, many = (paged_attention.paged_attention(**inputs, longest=300, keys=keys) for keys in (384, 128))
        for got in (one, many):
            assert (got - want).norm() < 8e-3 * want.norm()
        # What fits into one part is not rounded on the way.
        assert torch.equal(one[:3], many[:3])


@triton.jit
def _order(out_ptr, down, across, GROUP_M: tl.constexpr):  # noqa: N803
    row, column = swizzled(tl.program_id(0), down, across, GROUP_M)
    tl.store(out_ptr + tl.program_id(0), row * 1000 + column)


def order_of_tiles() -> None:
    """Every tile once, and no more than GROUP_M rows of tiles at a time."""
    for down, across in ((1, 1), (1, 7), (7, 1), (4, 3), (5, 3), (8, 2), (11, 5)):
        out = torch.empty(down * across, dtype=torch.int32)
        _order[(down * across,)](out, down, across, GROUP_M=4)
        assert sorted(out.tolist()) == [row * 1000 + column for row in range(down) for column in range(across)]
        rows = [value // 1000 // 4 for value in out.tolist()]
        assert rows == sorted(rows)


if __name__ == "__main__":
    {"alignment": alignment, "tiles": tiles, "parts": parts, "order_of_tiles": order_of_tiles}[sys.argv[1]]()
    print("as it should be")
