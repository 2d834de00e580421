"""Sampling."""

from pytest_dsbench import bench

bench_topk_filter = bench("topk_filter")
