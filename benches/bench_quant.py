"""Quantisation of activations."""

from pytest_dsbench import bench

bench_fp8_dynamic_per_token_quant = bench("fp8_dynamic_per_token_quant")
bench_per_token_group_quant_fp8 = bench("per_token_group_quant_fp8")
bench_fused_rmsnorm_quant = bench("fused_rmsnorm_quant")
