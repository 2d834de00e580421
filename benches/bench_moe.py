"""Mixture of experts: routing, the experts, and their sum."""

from pytest_dsbench import bench

bench_fp8_blockscale_fused_moe = bench("fp8_blockscale_fused_moe")
bench_fused_moe = bench("fused_moe")
bench_moe_align_block_size = bench("moe_align_block_size")
bench_moe_count_and_sort = bench("moe_count_and_sort")
bench_moe_sum_reduce = bench("moe_sum_reduce")
bench_moe_topk_gating_softmax = bench("moe_topk_gating_softmax")
