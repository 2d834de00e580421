"""DeepSeek's latent attention, and what prepares its queries and keys."""

from pytest_dsbench import bench

bench_paged_mla_decode = bench("paged_mla_decode")
bench_mla_ragged_prefill = bench("mla_ragged_prefill")
bench_mla_rope_quantize_fp8 = bench("mla_rope_quantize_fp8")
bench_rope_inplace = bench("rope_inplace")
bench_concat_mla_k = bench("concat_mla_k")
