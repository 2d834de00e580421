"""NVFP4: products, quantisation, and a layer of experts."""

from pytest_dsbench import bench

bench_fp4_block_scale_moe = bench("fp4_block_scale_moe")
bench_fp4_group_mm = bench("fp4_group_mm")
bench_scaled_fp4_experts_quant = bench("scaled_fp4_experts_quant")
bench_scaled_fp4_mm = bench("scaled_fp4_mm")
