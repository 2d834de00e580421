"""Mixture-of-experts routing."""

from pytest_dsbench import bench

bench_moe_topk_gating_softmax = bench("moe_topk_gating_softmax")
