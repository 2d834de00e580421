"""sgl_kernel: latent attention over a paged cache, and what prepares its queries and keys."""

import torch
from torch import Tensor

from . import Library, numerics

_HERE = Library(("sgl_kernel", "sglang_kernel"))
#: What it no longer has: latent attention from 0.4.8 on, rotation in place from 0.4.1 on.
_BEFORE = Library(("sgl_kernel", "sglang_kernel-0.4.[0-6]", "sglang_kernel-0.4.[0-6].post*"))
_ONCE = Library(("sgl_kernel", "sglang_kernel-0.4.0"))


@_BEFORE.function("sgl_kernel", "sgl_kernel/attention.py")
def cutlass_mla_get_workspace_size(max_seq_len: int, num_batches: int, sm_count: int = 0, num_kv_splits: int = 1) -> int:
    """It has room for as many splits as are asked for, here 4 of those that are left to the kernel."""
    assert sm_count == 0, "the third place is that of the multiprocessors"
    splits = 4 if num_kv_splits < 1 else num_kv_splits
    return max_seq_len * num_batches * splits


@_BEFORE.function("sgl_kernel", "sgl_kernel/attention.py")
def cutlass_mla_decode(
    q_nope: Tensor,
    q_pe: Tensor,
    kv_c_and_k_pe_cache: Tensor,
    seq_lens: Tensor,
    page_table: Tensor,
    workspace: Tensor,
    sm_scale: float,
    num_kv_splits: int = 1,
) -> Tensor:
    """[sequences, heads, 512]: each query over the keys of its sequence, one after the other."""
    pages, size, columns = kv_c_and_k_pe_cache.shape
    assert (q_nope.shape[2], q_pe.shape[2], columns) == (512, 64, 576) and q_nope.shape[1] <= 128
    assert page_table.shape[1] % (128 / size) == 0 and page_table.dtype == seq_lens.dtype == torch.int32
    assert int(page_table.min()) >= 0 and int(page_table.max()) < pages
    needed = cutlass_mla_get_workspace_size(page_table.shape[1] * size, len(q_nope), num_kv_splits=num_kv_splits)
    assert workspace.dtype == torch.uint8 and workspace.numel() >= needed, "the workspace is overrun"
    keys = kv_c_and_k_pe_cache.double().flatten(0, 1)
    out = torch.empty(q_nope.shape, dtype=q_nope.dtype)
    for row, length in enumerate(seq_lens.tolist()):
        places = [int(page_table[row, key // size]) * size + key % size for key in range(length)]
        own = keys[places]
        scores = q_nope[row].double() @ own[:, :512].T + q_pe[row].double() @ own[:, 512:].T
        out[row] = (scores * sm_scale).softmax(-1) @ own[:, :512]
    return out


@_ONCE.function("sgl_kernel", "sgl_kernel/elementwise.py")
def apply_rope_with_cos_sin_cache_inplace(
    positions: Tensor, query: Tensor, key: Tensor, head_size: int, cos_sin_cache: Tensor, is_neox: bool = True
) -> None:
    # Other integers would be converted by a kernel of their own.
    assert positions.dtype == torch.int64 and cos_sin_cache.dtype == torch.float32
    for x in (query, key):
        heads = x.view(len(x), -1, head_size)
        heads.copy_(numerics.turned(heads, cos_sin_cache[positions], is_neox))


@_HERE.function("sgl_kernel", "sgl_kernel/elementwise.py")
def concat_mla_k(k: Tensor, k_nope: Tensor, k_rope: Tensor) -> None:
    assert k.dtype == k_nope.dtype == k_rope.dtype == torch.bfloat16
    assert k.shape[1:] == (128, 192) and k_nope.shape[1:] == (128, 128) and k_rope.shape[1:] == (1, 64)
    for head in range(128):
        k[:, head] = torch.cat([k_nope[:, head], k_rope[:, 0]], -1)
