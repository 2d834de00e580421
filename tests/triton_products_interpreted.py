"""Run by test_triton_products.py with TRITON_INTERPRET=1: what the correctness rounds of the harness do not reach.

Takes the name of one of the functions below, which raises AssertionError where something is not as it should be.
"""

import sys

import torch
import triton
import triton.language as tl

from pytest_dsbench.kernels.fused_moe import fused_moe
from pytest_dsbench.kernels.moe_align import align, most_blocks
from pytest_dsbench.kernels.paged_attention import paged_attention
from pytest_dsbench.kernels.products import swizzled
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


def rows_of_blocks() -> None:
    """Every height of a block gives the same outputs."""
    op = FusedMoe(tokens=21, hidden=48, intermediate=40, experts=3, top_k=2)
    inputs = make(op, "cpu")
    first, *others = (fused_moe(**inputs, rows=rows) for rows in (16, 32, 64, 128))
    assert all(torch.equal(first, other) for other in others)
    want = op.reference(**inputs)
    assert (first - want).norm() < 1e-2 * want.norm()


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
        one, many = (paged_attention(**inputs, longest=300, keys=keys) for keys in (384, 128))
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
    {"alignment": alignment, "rows_of_blocks": rows_of_blocks, "parts": parts, "order_of_tiles": order_of_tiles}[sys.argv[1]]()
    print("as it should be")
