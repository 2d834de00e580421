"""Quantisation of activations."""

from pytest_dsbench import bench, find

bench_fp8_dynamic_per_token_quant = bench(find("fp8_dynamic_per_token_quant"))
