"""flashinfer's attention: what is planned is kept, the ids of pages as the tensor that was given."""

from typing import Any

import torch
from torch import Tensor

from . import Library, numerics
from .flashinfer import HERE


def _lengths(bounds: Tensor) -> list[int]:
    assert bounds.dtype == torch.int32 and bounds.device.type == "cpu"
    return bounds.diff().tolist()


class _Wrapper:
    def __init__(self, float_workspace_buffer: Tensor, kv_layout: str = "NHD") -> None:
        assert float_workspace_buffer.dtype == torch.uint8 and kv_layout == "NHD"


@HERE.methods("flashinfer.prefill", "flashinfer/prefill.py", __init__=("__init__",), plan=("_plan_impl", "plan"), run=("run",))
class BatchPrefillWithRaggedKVCacheWrapper(_Wrapper):
    def plan(
        self,
        qo_indptr: Tensor,
        kv_indptr: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim_qk: int,
        *,
        head_dim_vo: int | None = None,
        causal: bool = False,
        q_data_type: Any = "float16",
        kv_data_type: Any = None,
    ) -> None:
        self.queries, self.keys, self.causal = _lengths(qo_indptr), _lengths(kv_indptr), causal
        self.dtypes, self.columns = (q_data_type, kv_data_type), (head_dim_qk, head_dim_vo or head_dim_qk)

    def run(self, q: Tensor, k: Tensor, v: Tensor, *, out: Tensor | None = None, enable_pdl: bool | None = None) -> Tensor:
        assert out is not None and self.dtypes == (q.dtype, k.dtype) and self.columns == (k.shape[-1], v.shape[-1])
        pieces = zip(q.split(self.queries), k.split(self.keys), v.split(self.keys), strict=True)
        return out.copy_(torch.cat([numerics.attention(*piece, causal=self.causal) for piece in pieces]))


@HERE.methods("flashinfer.prefill", "flashinfer/prefill.py", __init__=("__init__",), plan=("_plan_impl", "plan"), run=("run",))
class BatchPrefillWithPagedKVCacheWrapper(_Wrapper):
    def plan(
        self,
        qo_indptr: Tensor,
        paged_kv_indptr: Tensor,
        paged_kv_indices: Tensor,
        paged_kv_last_page_len: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim_qk: int,
        page_size: int,
        *,
        causal: bool = False,
        q_data_type: Any = "float16",
        kv_data_type: Any = None,
    ) -> None:
        self.queries, self.pages, self.ids, self.causal = _lengths(qo_indptr), _lengths(paged_kv_indptr), paged_kv_indices, causal
        self.keys = [
            (pages - 1) * page_size + last for pages, last in zip(self.pages, paged_kv_last_page_len.tolist(), strict=True)
        ]
        self.dtypes = q_data_type, kv_data_type

    def run(
        self, q: Tensor, paged_kv_cache: tuple[Tensor, Tensor], *, out: Tensor | None = None, enable_pdl: bool | None = None
    ) -> Tensor:
        assert out is not None and self.dtypes == (q.dtype, paged_kv_cache[0].dtype) and self.ids.dtype == torch.int32
        done = []
        for some, pages, length in zip(q.split(self.queries), self.ids.split(self.pages), self.keys, strict=True):
            k, v = (numerics.paged(cache, pages, length) for cache in paged_kv_cache)
            done.append(numerics.attention(some, k, v, causal=self.causal))
        return out.copy_(torch.cat(done))


@HERE.methods("flashinfer.decode", "flashinfer/decode.py", __init__=("__init__",), plan=("_plan_impl", "plan"), run=("run",))
class BatchDecodeWithPagedKVCacheWrapper(BatchPrefillWithPagedKVCacheWrapper):
    def __init__(self, float_workspace_buffer: Tensor, kv_layout: str = "NHD", *, use_tensor_cores: bool = False) -> None:
        super().__init__(float_workspace_buffer, kv_layout)

    def plan(  # type: ignore[override]
        self,
        indptr: Tensor,
        indices: Tensor,
        last_page_len: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
        *,
        q_data_type: Any = "float16",
        kv_data_type: Any = None,
    ) -> None:
        ones, heads = torch.arange(len(indptr), dtype=torch.int32), (num_qo_heads, num_kv_heads)
        types = {"q_data_type": q_data_type, "kv_data_type": kv_data_type}
        super().plan(ones, indptr, indices, last_page_len, *heads, head_dim, page_size, **types)


@Library(("flashinfer_python-0.7*",)).methods(
    "flashinfer.mla", "flashinfer/mla/_batch_mla/_wrapper.py", __init__=("__init__",), plan=("plan",), run=("run",)
)
@Library(("flashinfer_python-0.6*",)).methods(
    "flashinfer.mla", "flashinfer/mla/_core.py", __init__=("__init__",), plan=("plan",), run=("run",)
)
class BatchMLAPagedAttentionWrapper:
    def __init__(self, float_workspace_buffer: Tensor, *, backend: str = "auto") -> None:
        """What is chosen automatically may read a copy of the pages' ids; fa2 and fa3 read the tensor that they are given."""
        self.copies = backend not in ("fa2", "fa3")

    def plan(
        self,
        qo_indptr: Tensor,
        kv_indptr: Tensor,
        kv_indices: Tensor,
        kv_len_arr: Tensor,
        num_heads: int,
        head_dim_ckv: int,
        head_dim_kpe: int,
        page_size: int,
        causal: bool,
        sm_scale: float,
        q_data_type: torch.dtype,
        kv_data_type: torch.dtype,
    ) -> None:
        assert (head_dim_ckv, head_dim_kpe) == (512, 64)
        self.queries, self.causal = _lengths(qo_indptr), causal
        self.pages, self.keys, self.scale = _lengths(kv_indptr), kv_len_arr.tolist(), sm_scale
        self.ids = kv_indices.clone() if self.copies else kv_indices
        self.dtypes, self.page_size = (q_data_type, kv_data_type), page_size

    def run(self, q_nope: Tensor, q_pe: Tensor, ckv_cache: Tensor, kpe_cache: Tensor, out: Tensor | None = None) -> Tensor:
        assert out is not None and self.dtypes == (q_nope.dtype, ckv_cache.dtype) and ckv_cache.shape[1] == self.page_size
        done = []
        queries = torch.cat([q_nope, q_pe], -1).split(self.queries)
        for q, pages, length in zip(queries, self.ids.split(self.pages), self.keys, strict=True):
            latent, rope = (cache[pages.long()].flatten(0, 1)[:length, None] for cache in (ckv_cache, kpe_cache))
            done.append(numerics.attention(q, torch.cat([latent, rope], -1), latent, self.causal, self.scale))
        return out.copy_(torch.cat(done))


@HERE.function("flashinfer.page", "flashinfer/page.py")
def append_paged_kv_cache(
    append_key: Tensor,
    append_value: Tensor,
    batch_indices: Tensor,
    positions: Tensor,
    paged_kv_cache: tuple[Tensor, Tensor],
    kv_indices: Tensor,
    kv_indptr: Tensor,
    kv_last_page_len: Tensor,
) -> None:
    page_size = paged_kv_cache[0].shape[1]
    first = kv_indptr.long()[batch_indices.long()]
    pages = kv_indices.long()[first + positions // page_size]
    numerics.store(append_key, append_value, *paged_kv_cache, pages * page_size + positions % page_size)
