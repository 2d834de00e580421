"""Rotary embeddings."""

from pytest_dsbench import bench

bench_fused_qkv_rope = bench("fused_qkv_rope")
bench_mrope = bench("mrope")
