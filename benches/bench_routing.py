"""Mixture of experts: the routers of models, what grouped products start from, and the way back."""

from pytest_dsbench import bench

bench_moe_fused_gate = bench("moe_fused_gate")
bench_prepare_moe_input = bench("prepare_moe_input")
bench_shuffle_mul_sum = bench("shuffle_mul_sum")
bench_topk_sigmoid = bench("topk_sigmoid")
bench_topk_softmax = bench("topk_softmax")
