"""Attention."""

from pytest_dsbench import bench

bench_attention_forward = bench("attention_forward")
