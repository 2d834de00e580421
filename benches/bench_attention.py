"""Attention."""

from pytest_dsbench import bench, find

bench_attention_forward = bench(find("attention_forward"))
