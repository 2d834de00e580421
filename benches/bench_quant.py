"""Quantisation of activations."""

from pytest_dsbench import bench

bench_fp8_dynamic_per_token_quant = bench("fp8_dynamic_per_token_quant")
