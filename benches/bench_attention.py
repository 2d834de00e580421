"""Attention."""

from pytest_dsbench import bench

bench_attention_forward = bench("attention_forward")
bench_unified_attention = bench("unified_attention")
bench_paged_attention_decode = bench("paged_attention_decode")
bench_mla_decode_attention = bench("mla_decode_attention")
bench_reshape_and_cache = bench("reshape_and_cache")
