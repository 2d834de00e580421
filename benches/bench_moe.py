"""Mixture-of-experts routing."""

from pytest_dsbench import bench, find

bench_moe_topk_gating_softmax = bench(find("moe_topk_gating_softmax"))
